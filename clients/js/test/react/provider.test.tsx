// @vitest-environment jsdom
import { act, cleanup, render } from '@testing-library/react';
import { StrictMode, type ReactElement, type ReactNode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ConnectionBadge, RealtimeProvider, useChannel, useHybridUpdates } from '../../src/react/index.js';
import type { ClientOptions } from '../../src/types.js';
import type { FakeClient } from './fake-client.js';

const made = vi.hoisted(() => [] as { client: FakeClient; options: ClientOptions }[]);

vi.mock('../../src/hybrid-client.js', async () => {
  const { FakeClient } = await import('./fake-client.js');
  return {
    HybridClient: class extends FakeClient {
      constructor(options: ClientOptions = {}) {
        super();
        made.push({ client: this, options });
      }
    },
  };
});

beforeEach(() => {
  vi.useFakeTimers();
  made.length = 0;
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
  const shown = render(<StrictMode>{page}</StrictMode>);
  act(() => void vi.advanceTimersByTime(10));
  return shown;
}

const calls = (): string[][] => made.map(({ client }) => client.calls);

test('without a provider all who name an endpoint share one client, from the first to the last of them', () => {
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

test('another endpoint is another client', () => {
  show(<><Channel /><Channel endpoint="/other" /></>);
  expect(made.map(({ options }) => options.endpoint)).toEqual(['/realtime', '/other']);
});

test('the options of `useHybridUpdates` count for the shared client, whoever comes first', () => {
  show(<><ConnectionBadge /><Updates options={{ pollingInterval: 2000, token: () => 't' }} /></>);
  expect(made.map(({ options }) => options.pollingInterval)).toEqual([2000]);
  expect((made[0]!.options.token as () => string)()).toBe('t');
});

test('a provider’s options make its own client, which starts with the first user and stops after the last', () => {
  const { unmount } = show(
    <RealtimeProvider options={{ endpoint: '/mine' }}>
      <Channel endpoint="/disregarded" />
      <Updates />
    </RealtimeProvider>,
  );
  expect(made.map(({ options }) => options)).toEqual([{ endpoint: '/mine' }]);
  expect(calls()).toEqual([['start']]);
  unmount();
  vi.advanceTimersByTime(10);
  expect(calls()).toEqual([['start', 'stop']]);
});

test('a provider that nobody uses contacts nothing', () => {
  show(<RealtimeProvider options={{}}>{null}</RealtimeProvider>);
  expect(made).toEqual([]);
});
