/** Page with the widget of one user's jobs. */

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ProcessingWidget } from '../../clients/js/src/react/index.js';

createRoot(document.querySelector('main')!).render(
  <StrictMode>
    <ProcessingWidget userId="ada" debug={false} />
  </StrictMode>,
);
