// @vitest-environment jsdom
import { act } from '@testing-library/react';
import { StrictMode, type ReactElement } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import { ConnectionBadge, ProcessingWidget, RealtimeProvider } from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

test('server-rendered page hydrates without a mismatch', async () => {
  const client = new FakeClient();
  const page: ReactElement = (
    <StrictMode>
      <RealtimeProvider client={client}>
        <ConnectionBadge />
        <ProcessingWidget userId="42" />
      </RealtimeProvider>
    </StrictMode>
  );
  const errors = vi.spyOn(console, 'error');
  const root = document.body.appendChild(document.createElement('div'));
  root.innerHTML = renderToString(page);
  client.goLive();
  await act(async () => void hydrateRoot(root, page, { onRecoverableError: (error) => expect.unreachable(String(error)) }));
  expect(errors).not.toHaveBeenCalled();
  expect(root.querySelector('.rb-pill-label')!.textContent).toBe('Real-time');
});
