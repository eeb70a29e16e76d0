// @vitest-environment jsdom
import { act, cleanup, render } from '@testing-library/react';
import { StrictMode, type ReactElement } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeProvider, usePresence } from '../../src/react/index.js';
import type { UsePresenceOptions } from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

const NAME = '@realtime.presence.chat.1';

let client: FakeClient;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function Page({ channel = 'chat.1', ...options }: UsePresenceOptions & { channel?: string | null }): ReactElement {
  const { members, count } = usePresence(channel, options);
  return <p>{`${count}: ${members.map(({ user }) => user).join(' ')}`}</p>;
}

function page(element: ReactElement): ReactElement {
  return <StrictMode><RealtimeProvider client={client}>{element}</RealtimeProvider></StrictMode>;
}

function show(call: () => void): void {
  act(() => {
    call();
    vi.advanceTimersByTime(20);
  });
}

test('members are shown, and StrictMode leaves one subscription', async () => {
  const { container, unmount } = render(page(<Page />));
  expect(container.textContent).toBe('0: ');
  await vi.dynamicImportSettled();
  expect(client.live).toHaveLength(1);
  const ada = client.event(NAME, 'presence.joined', { user: 'ada', info: null }, { key: 'a-1' });
  show(() => client.snapshot(NAME, [ada]));
  expect(container.textContent).toBe('1: ada');
  unmount();
  expect(client.live).toEqual([]);
});

test('the latest handler is called, without another subscription', async () => {
  const [first, second] = [vi.fn(), vi.fn()];
  const { rerender } = render(page(<Page onJoin={first} />));
  await vi.dynamicImportSettled();
  show(() => client.snapshot(NAME));
  rerender(page(<Page onJoin={second} />));
  const before = client.subscriptions.length;
  show(() => client.emit(NAME, 'presence.joined', { user: 'bob', info: null }, { key: 'a-1' }));
  expect([first.mock.calls, second.mock.calls]).toEqual([[], [[{ user: 'bob', info: null }]]]);
  expect(client.subscriptions).toHaveLength(before);
});

test('without a channel nothing is subscribed', () => {
  render(page(<Page channel={null} />));
  expect(client.subscriptions).toEqual([]);
});
