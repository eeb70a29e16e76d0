/** Clients in the form of pusher-js and Laravel Echo, over the client of a test. */

import Echo from 'laravel-echo';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { EchoConnector } from '../../src/echo/index.js';
import { BridgePusher } from '../../src/pusher/index.js';
import { channelOf, socketIdOf } from '../../src/pusher/names.js';
import { FakeClient } from '../react/fake-client.js';

const MEMBERS = '@realtime.presence.presence.room';

let client: FakeClient;
let journal: unknown[];

beforeEach(() => {
  client = new FakeClient();
  client.show({ client: 'c_00000001ffffffff' });
  journal = [];
});

afterEach(() => {
  vi.restoreAllMocks();
});

function note(name: string): (data: unknown) => void {
  return (data) => journal.push([name, data]);
}

it.each([
  ['news', 'public.news'],
  ['private-job.7', 'job.7'],
  ['presence-room', 'presence.room'],
  ['#server-to-user-42', 'server-to-user.42'],
  ['cache-news', 'public.cache-news'],
  ['private-cache-x', 'cache-x'],
])('names the channel of %s', (name, channel) => {
  expect(channelOf(name)).toBe(channel);
});

it('refuses an encrypted channel', () => {
  expect(() => new BridgePusher(client).subscribe('private-encrypted-x')).toThrow('need pusher-js');
});

it('has a socket id that server libraries accept', () => {
  expect(socketIdOf('c_00000001ffffffff')).toBe('01.4294967295');
});

it('passes events, resets and denials on', () => {
  const pusher = new BridgePusher(client);
  const channel = pusher.subscribe('private-job.7');
  expect(pusher.subscribe('private-job.7')).toBe(channel);
  channel.bind('step', note('step')).bind('realtime:reset', note('reset'));
  channel.bind('pusher:subscription_succeeded', note('succeeded'));
  channel.bind('pusher:subscription_error', note('error'));
  pusher.bind('step', note('any step'));
  client.channel('job.7').merge({ phase: 'current' });
  client.channel('job.7').merge({ phase: 'stale' });
  client.channel('job.7').merge({ phase: 'current' });
  expect(channel.subscribed).toBe(true);
  client.emit('job.7', 'step', { n: 1 });
  client.subscriptions[0]!.handlers.onReset?.({ channel: 'job.7', reason: 'truncated', position: null });
  client.subscriptions[0]!.handlers.onError?.({ channel: 'job.7', message: 'denied' });
  expect(journal).toEqual([
    ['succeeded', {}],
    ['step', { n: 1 }],
    ['any step', { n: 1 }],
    ['reset', { channel: 'job.7', reason: 'truncated', position: null }],
    ['error', { type: 'AuthError', error: 'denied', status: 403 }],
  ]);
  expect(channel.subscribed).toBe(false);
});

it('removes handlers as pusher-js does', async () => {
  client.channel('public.news').merge({ phase: 'current' });
  const channel = new BridgePusher(client).subscribe('news');
  const [one, other] = [note('one'), note('other')];
  channel.bind('pusher:subscription_succeeded', note('succeeded'));
  await Promise.resolve();
  const all = (event: string, data: unknown): void => void journal.push([event, data]);
  channel.bind('a', one).bind('a', other).bind('b', one).bind_global(all);
  channel.unbind('a', one);
  client.emit('public.news', 'a', 1);
  channel.unbind('a').unbind_global(all);
  client.emit('public.news', 'a', 2);
  client.emit('public.news', 'b', 3);
  channel.unbind_all();
  client.emit('public.news', 'b', 4);
  expect(journal).toEqual([
    ['succeeded', {}],
    ['a', 1],
    ['other', 1],
    ['one', 3],
  ]);
});

it('ends a subscription, and begins another one', () => {
  const pusher = new BridgePusher(client);
  pusher.subscribe('news');
  pusher.unsubscribe('news');
  pusher.unsubscribe('other');
  expect(client.subscriptions[0]!.ended).toBe(true);
  expect([pusher.channel('news'), pusher.allChannels()]).toEqual([undefined, []]);
  expect(pusher.subscribe('news').name).toBe('news');
});

it('shows the state of the client as a connection', () => {
  const pusher = new BridgePusher(client);
  pusher.connection.bind('state_change', note('change')).bind('connected', note('connected'));
  expect(pusher.connection.state).toBe('disconnected');
  pusher.connect();
  for (const kind of ['realtime', 'polling', 'offline'] as const) client.state.merge({ kind });
  pusher.signin();
  pusher.disconnect();
  expect(journal).toEqual([
    ['change', { previous: 'disconnected', current: 'initialized' }],
    ['change', { previous: 'initialized', current: 'connected' }],
    ['connected', undefined],
    ['change', { previous: 'connected', current: 'unavailable' }],
    ['change', { previous: 'unavailable', current: 'disconnected' }],
  ]);
});

it('shows members before and after they change', async () => {
  vi.useFakeTimers();
  client.state.merge({ user: 'ann' });
  const channel = new BridgePusher(client).subscribe('presence-room');
  channel.bind('pusher:subscription_succeeded', ({ count, me }) => journal.push([count, me]));
  channel.bind('pusher:member_added', ({ id }) => journal.push([`+${id}`, channel.members?.count]));
  await vi.dynamicImportSettled();
  const joined = (user: string): [string, string, unknown, { key: string }] => [
    MEMBERS,
    'presence.joined',
    { user, info: { name: user } },
    { key: user },
  ];
  client.snapshot(MEMBERS, [client.event(...joined('ann'))]);
  await vi.advanceTimersByTimeAsync(20);
  client.emit(...joined('ben'));
  await vi.advanceTimersByTimeAsync(20);
  expect(journal).toEqual([
    [1, { id: 'ann', info: { name: 'ann' } }],
    ['+ben', 2],
  ]);
  const ids: string[] = [];
  channel.members?.each(({ id }) => ids.push(id));
  expect(ids).toEqual(['ann', 'ben']);
  expect(channel.members?.get('other')).toBe(null);
  vi.useRealTimers();
});

it('is a connector of Laravel Echo', () => {
  const warn = vi.spyOn(console, 'warn').mockReturnValue();
  const echo = new Echo<'function'>({ broadcaster: EchoConnector, client, withoutInterceptors: true } as never);
  echo.private('orders.7').listen('OrderPaid', note('paid')).listen('.raw', note('raw')).whisper('typing', {});
  echo.channel('news').listenToAll((event: string, data: unknown) => journal.push([event, data]));
  client.emit('orders.7', 'App\\Events\\OrderPaid', 1);
  client.emit('orders.7', 'raw', 2);
  client.emit('public.news', 'App\\Events\\Note', 3);
  expect(journal).toEqual([
    ['paid', 1],
    ['raw', 2],
    ['Note', 3],
  ]);
  expect(warn).toHaveBeenCalledOnce();
  expect(echo.socketId()).toBe('01.4294967295');
  client.state.merge({ kind: 'realtime' });
  expect(echo.connectionStatus()).toBe('connected');
  echo.leave('orders.7');
  expect(client.subscriptions.map(({ ended }) => ended)).toEqual([true, false]);
});
