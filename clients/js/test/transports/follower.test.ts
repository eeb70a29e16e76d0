/** Follower of a shared connection: what it asks of the leader, and what its session gets. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import type { Fields, ServerMessage } from '../../src/messages.js';
import { Follower } from '../../src/transports/shared/follower.js';
import type { Page } from '../../src/transports/shared/role.js';
import type { TabMessage } from '../../src/transports/shared/tab-messages.js';

const LEADER = 'leader';
const ME = 'me';
const CHANNEL = 'job.7';
const POSITION = { epoch: 'aaaaaaaa', offset: 5, id: 'e5' };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Return a follower of a ready leader, with what it posts and delivers; `answer` is that of the log. */
function open(answer: Fields = {}) {
  const posted: string[] = [];
  const delivered: string[] = [];
  const tools = {
    timing: DEFAULT_TIMING,
    url: () => '',
    token: () => '',
    channelLimit: () => 10,
    positions: () => ({ [CHANNEL]: POSITION }),
    isHidden: () => false,
    request: () => Promise.resolve(Response.json({ channels: { [CHANNEL]: answer }, generation: 1 })),
  };
  const page = { id: ME, tools, connect: null, open: () => {}, post: ({ type }: TabMessage) => posted.push(type), deliver: ({ type }: ServerMessage) => delivered.push(type) };
  const follower = new Follower(page as unknown as Page);
  follower.receive({ type: 'leader', leader: LEADER, term: 1, ready: true, health: {} });
  const relay = (message: Fields) => follower.receive({ type: 'relay', leader: LEADER, to: [ME], message: { channel: CHANNEL, ...message } as unknown as ServerMessage });
  const subscribe = () => follower.send({ type: 'subscribe', channel: CHANNEL, position: POSITION });
  return { posted, delivered, relay, subscribe, follower };
}

it.each([
  { type: 'reset', reason: 'forbidden' },
  { type: 'refused', code: 403, message: 'no' },
])('channel that the server ended with $type is joined again', (message) => {
  const { posted, delivered, relay, subscribe } = open();
  subscribe();
  relay({ type: 'subscribed', ...POSITION, events: [], more: false });
  relay(message);
  subscribe();
  expect(posted).toEqual(['join', 'join']);
  expect(delivered).toEqual(['subscribed', message.type]);
});

it.each(['joined', 'subscribed'])('late %s of a channel that was left does not count', (type) => {
  const { posted, delivered, relay, subscribe, follower } = open();
  subscribe();
  follower.send({ type: 'unsubscribe', channels: [CHANNEL] });
  relay({ type, ...POSITION, events: [], more: false });
  subscribe();
  expect(posted).toEqual(['join', 'leave', 'join']);
  expect(delivered).toEqual([]);
});

it('channel that the log refuses to this tab is left at the leader', async () => {
  const { posted, delivered, relay, subscribe } = open({ error: { code: 403, message: 'no' } });
  subscribe();
  relay({ type: 'joined' });
  await vi.advanceTimersByTimeAsync(DEFAULT_TIMING.fetchAfterSubscribing + DEFAULT_TIMING.fetchBatchDelay);
  expect(delivered).toEqual(['refused', 'heartbeat']);
  subscribe();
  expect(posted).toEqual(['join', 'leave', 'join']);
});
