import type { ReactNode } from 'react';
import 'realtime-bridge/react/styles.css';

export const metadata = { title: 'Exports' };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
