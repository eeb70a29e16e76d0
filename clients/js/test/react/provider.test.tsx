// @vitest-environment jsdom
import { act, cleanup, render } from '@testing-library/react';
import { StrictMode, type ReactElement, type ReactNode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ConnectionBadge, RealtimeProvider, useChannel, useHybridUpdates } from '../../src/react/index.js';
import type { ClientOptions } from '../../src/types.js';
import type { FakeClient } from './fake-client.js';

const clients = vi.hoisted(() => [] as { client: FakeClient; options: ClientOptions }[]);

vi.mock('../../src/hybrid-client.js', async () => {
  const { FakeClient } = await import('./fake-client.js');
  return {
    HybridClient: class extends FakeClient {
      constructor(options: ClientOptions = {}) {
        super();
        clients.push({ client: this, options });
      }
    },
  };
});

beforeEach(() => {
  vi.useFakeTimers();
  clients.length = 0;
});
afterEach(() => {
  cleanup();
  vi.runAllTimers();
  vi.useRealTimers();
});

function Channel({ endpoint }: { endpoint?: string }): null {
  useChannel('job.7', () => {}, { endpoint });
  return null;
}

function Updates({ options = {} }: { options?: ClientOptions }): null {
  useHybridUpdates(null, 42, options);
  return null;
}

function show(page: ReactNode): ReturnType<typeof render> {
  const view = render(<StrictMode>{page}</StrictMode>);
  act(() => void vi.advanceTimersByTime(10));
  return view;
}

const calls = (): string[][] => clients.map(({ client }) => client.calls);

test('hooks without a provider share a client per endpoint', () => {
  const page = (badge: boolean): ReactElement => (
    <StrictMode>
      <Channel />
      <Updates />
      {badge && <ConnectionBadge />}
    </StrictMode>
  );
  const { rerender, unmount } = render(page(true));
  act(() => void vi.advanceTimersByTime(10));
  expect(calls()).toEqual([['start']]);
  rerender(page(false));
  act(() => void vi.advanceTimersByTime(10));
  expect(calls()).toEqual([['start']]);
  unmount();
  vi.advanceTimersByTime(10);
  expect(calls()).toEqual([['start', 'stop']]);
});

test('another endpoint has another client', () => {
  show(<><Channel /><Channel endpoint="/other" /></>);
  expect(clients.map(({ options }) => options.endpoint)).toEqual(['/realtime', '/other']);
});

test('options of `useHybridUpdates` reach the shared client', () => {
  show(<><ConnectionBadge /><Updates options={{ pollingInterval: 2000, token: () => 't' }} /></>);
  expect(clients.map(({ options }) => options.pollingInterval)).toEqual([2000]);
  expect((clients[0]!.options.token as () => string)()).toBe('t');
});

test('provider options create a client for its users', () => {
  const { unmount } = show(
    <RealtimeProvider options={{ endpoint: '/mine' }}>
      <Channel endpoint="/disregarded" />
      <Updates />
    </RealtimeProvider>,
  );
  expect(clients.map(({ options }) => options)).toEqual([{ endpoint: '/mine' }]);
  expect(calls()).toEqual([['start']]);
  unmount();
  vi.advanceTimersByTime(10);
  expect(calls()).toEqual([['start', 'stop']]);
});

test('provider without users contacts nothing', () => {
  show(<RealtimeProvider options={{}}>{null}</RealtimeProvider>);
  expect(clients).toEqual([]);
});
