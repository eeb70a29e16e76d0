/** Shared connection of tabs: what must end, and what must never be worse than a socket for each tab. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import { FakeLocks, FakeSocket, FakeTab, stubBrowser, tokenOf } from '../support/tabs.js';

const welcome = { type: 'welcome', nonce: 'ab' };

let locks: FakeLocks;
let tabs: FakeTab[];

beforeEach(() => {
  locks = new FakeLocks();
  tabs = [];
  stubBrowser(locks);
});

afterEach(() => {
  for (const tab of tabs) tab.transport.close(1000);
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function openTab(): FakeTab {
  const tab = new FakeTab();
  tabs.push(tab);
  return tab;
}

async function socketOf(tab: FakeTab): Promise<FakeSocket> {
  await vi.waitFor(() => expect(tab.sockets).toHaveLength(1));
  return tab.sockets[0] as FakeSocket;
}

/** Return a tab that leads, and its socket. */
async function openLeader(): Promise<[FakeTab, FakeSocket]> {
  const tab = openTab();
  const socket = await socketOf(tab);
  socket.handlers.opened();
  tab.connect();
  socket.handlers.message(welcome);
  return [tab, socket];
}

async function openFollower(): Promise<FakeTab> {
  const tab = openTab();
  await vi.waitFor(() => expect(tab.isOpened).toBe(true));
  tab.connect();
  await vi.waitFor(() => expect(tab.messages).toMatchObject([welcome]));
  return tab;
}

it('tab that closes at once, as in StrictMode, leaves nothing behind', async () => {
  const tab = openTab();
  tab.transport.close(1000);
  await Promise.resolve();
  const other = openTab();
  await Promise.resolve();
  other.transport.close(1000);
  await vi.waitFor(() => expect(locks.names).toEqual([]));
  expect([...tab.sockets, ...other.sockets]).toEqual([]);
});

it('follower leads after the leader, and closes all at its end', async () => {
  const [leader, first] = await openLeader();
  const follower = await openFollower();
  leader.transport.close(1000);
  expect(first.isClosed).toBe(true);
  const second = await socketOf(follower);
  follower.transport.close(1000);
  expect(second.isClosed).toBe(true);
  await vi.waitFor(() => expect(locks.names).toEqual([]));
});

it('token of another user never connects under the name of the first', async () => {
  const tab = openTab();
  const socket = await socketOf(tab);
  socket.handlers.opened();
  tab.token = tokenOf('ben');
  tab.connect();
  expect(socket.sent).toEqual([]);
  expect(socket.isClosed).toBe(true);
  expect(tab.closes).toEqual([4401]);
});

it('tab that gets the lock before the close code of its leader asks the server itself', async () => {
  const [leader, socket] = await openLeader();
  const follower = await openFollower();
  socket.handlers.closed(4403, 'no access');
  expect(leader.closes).toEqual([4403]);
  const second = await socketOf(follower);
  second.handlers.closed(4403, 'no access');
  expect(follower.closes).toEqual([4403]);
});

it('tab without messages between tabs has its own connection', async () => {
  vi.stubGlobal('BroadcastChannel', class {
    constructor() {
      throw new DOMException('denied', 'SecurityError');
    }
  });
  expect((await openLeader())[0].messages).toEqual([welcome]);
});

it('tab whose browser refuses locks has its own connection', async () => {
  stubBrowser({ request: () => Promise.reject(new DOMException('denied', 'SecurityError')) });
  const [tab] = await openLeader();
  expect(tab.messages).toEqual([welcome]);
});

it('leader with slow timers notices by a follower that the server does not answer', async () => {
  const [leader, socket] = await openLeader();
  const follower = await openFollower();
  follower.transport.send({ type: 'ping', nonce: 'cd' });
  await vi.waitFor(() => expect(socket.sent).toHaveLength(2));
  const later = performance.now() + DEFAULT_TIMING.answerTimeout + 1;
  vi.spyOn(performance, 'now').mockReturnValue(later);
  follower.transport.send({ type: 'ping', nonce: 'ef' });
  await vi.waitFor(() => expect(leader.closes).toEqual([1006]));
  expect(socket.isClosed).toBe(true);
});
