/** Relay of a shared connection: one subscription at the server for the leader's session and for followers. */

import { expect, it } from 'vitest';
import type { ClientMessage, ServerMessage } from '../../src/messages.js';
import type { Output } from '../../src/transports/shared/relay-channel.js';
import { Relay } from '../../src/transports/shared/relay.js';

const EPOCH = 'aaaaaaaa';
const CHANNEL = 'job.7';

const at = (offset: number) => ({ epoch: EPOCH, offset, id: `e${offset}` });
const event = (offset: number): ServerMessage => ({ type: 'event', channel: CHANNEL, event: 'step', ...at(offset) });
const asks = (offset?: number): ClientMessage => ({ type: 'subscribe', channel: CHANNEL, ...(offset !== undefined && { position: at(offset) }) });
const answer = (offset: number, events: ServerMessage[] = [], more = false): ServerMessage => ({ type: 'subscribed', channel: CHANNEL, ...at(offset), events, more });

/** Return outputs as short texts: their receiver, and the message's type, offset and position. */
function texts(outputs: readonly Output[]): string[] {
  return outputs.map(({ to, message }) => {
    const { type, position, offset } = message as ServerMessage & { position?: { offset: number } };
    const receiver = to === null ? 'all' : typeof to === 'string' ? to : to.join('+');
    return [receiver, type, offset ?? position?.offset].filter((part) => part !== undefined).join(' ');
  });
}

/** Return a relay whose connection has the channel for its session, at offset 5. */
function openRelay(limit = 128): Relay {
  const relay = new Relay(limit);
  expect(texts(relay.session(asks()))).toEqual(['server subscribe']);
  expect(texts(relay.received(answer(5)))).toEqual(['session subscribed 5']);
  return relay;
}

it('page alone gets and sends what a connection of its own would', () => {
  const relay = openRelay();
  expect(texts(relay.received(event(6)))).toEqual(['session event 6']);
  expect(texts(relay.session({ type: 'ping', nonce: 'ab' }))).toEqual(['server ping']);
  expect(texts(relay.received({ type: 'pong', nonce: 'ab' }))).toEqual(['session pong']);
  expect(texts(relay.session({ type: 'unsubscribe', channels: [CHANNEL, 'other'] }))).toEqual(['server unsubscribe']);
});

it('follower joins the flow where it is', () => {
  const relay = openRelay();
  relay.received(event(6));
  expect(texts(relay.join('a', CHANNEL, null))).toEqual(['a subscribed 6']);
  expect(texts(relay.join('b', CHANNEL, at(6)))).toEqual(['b subscribed 6']);
  expect(texts(relay.received(event(7)))).toEqual(['session event 7', 'a+b event 7']);
});

it.each([4, 9])('follower at offset %d reads the log after it joined', (offset) => {
  expect(texts(openRelay().join('a', CHANNEL, at(offset)))).toEqual(['a joined']);
});

it('follower of a rolled-back log reads the log', () => {
  expect(texts(openRelay().join('a', CHANNEL, { ...at(5), id: 'lost' }))).toEqual(['a joined']);
});

it('channel of followers alone is one subscription from now', () => {
  const relay = new Relay(128);
  expect(texts(relay.join('a', CHANNEL, at(2)))).toEqual(['server subscribe']);
  expect(texts(relay.join('b', CHANNEL, null))).toEqual([]);
  expect(texts(relay.received(answer(5)))).toEqual(['a joined', 'b subscribed 5']);
  expect(texts(relay.received(event(6)))).toEqual(['a+b event 6']);
});

it('request of the session waits for the answer to that of the relay', () => {
  const relay = new Relay(128);
  relay.join('a', CHANNEL, null);
  expect(texts(relay.session(asks(3)))).toEqual([]);
  expect(texts(relay.received(answer(5)))).toEqual(['server subscribe 3']);
  expect(texts(relay.received(answer(5, [event(4), event(5)])))).toEqual(['a event 4', 'a event 5', 'session subscribed 5', 'a subscribed 5']);
});

it('events of an answer reach followers too: they are not pushed again', () => {
  const relay = openRelay();
  relay.join('a', CHANNEL, null);
  expect(texts(relay.session(asks(5)))).toEqual(['server subscribe 5']);
  expect(texts(relay.received(answer(6, [event(6)], true)))).toEqual(['a event 6', 'session subscribed 6']);
  expect(texts(relay.join('b', CHANNEL, null))).toEqual([]);
  expect(texts(relay.session(asks(6)))).toEqual(['server subscribe 6']);
  expect(texts(relay.received(answer(7, [event(7)])))).toEqual(['a+b event 7', 'session subscribed 7', 'b subscribed 7']);
});

it('relay goes on reading for followers when the session leaves between two pages', () => {
  const relay = openRelay();
  relay.join('a', CHANNEL, null);
  relay.session(asks(5));
  relay.received(answer(6, [event(6)], true));
  expect(texts(relay.session({ type: 'unsubscribe', channels: [CHANNEL] }))).toEqual(['server subscribe 6']);
  expect(texts(relay.received(answer(7, [event(7)], true)))).toEqual(['a event 7', 'server subscribe 7']);
  expect(texts(relay.received(answer(8, [event(8)])))).toEqual(['a event 8']);
});

it('heartbeat shows the relay what the server held back from followers', () => {
  const relay = new Relay(128);
  relay.join('a', CHANNEL, null);
  relay.received(answer(5));
  const heartbeat = (offset: number) => relay.received({ type: 'heartbeat', offsets: { [CHANNEL]: offset, other: 9 } });
  expect(texts(heartbeat(5))).toEqual(['session heartbeat', 'all heartbeat']);
  expect(texts(heartbeat(7))).toEqual(['session heartbeat', 'all heartbeat', 'server subscribe 5']);
  expect(texts(heartbeat(8))).toEqual(['session heartbeat', 'all heartbeat']);
});

it('reset makes followers ask the log, each from its own position', () => {
  const relay = openRelay();
  relay.join('a', CHANNEL, null);
  const reset = { type: 'reset', channel: CHANNEL, reason: 'epoch', epoch: 'bbbbbbbb', offset: 0 };
  expect(texts(relay.received(reset))).toEqual(['session reset 0', 'a joined']);
  expect(texts(relay.join('b', CHANNEL, null))).toEqual(['b subscribed 0']);
});

it.each(['refused', 'reset'])('%s ends the channel for all, who may request it again', (type) => {
  const relay = openRelay();
  relay.join('a', CHANNEL, null);
  const message = { type, channel: CHANNEL, reason: 'forbidden', code: 403 };
  expect(texts(relay.received(message))).toEqual([`session ${type}`, `a ${type}`]);
  expect(texts(relay.join('a', CHANNEL, at(5)))).toEqual(['server subscribe']);
});

it('refusal of the request of the relay does not concern the session, whose own follows', () => {
  const relay = new Relay(128);
  relay.join('a', CHANNEL, null);
  relay.session(asks(3));
  expect(texts(relay.received({ type: 'refused', channel: CHANNEL, code: 429 }))).toEqual(['a refused', 'server subscribe 3']);
});

it('channel ends at the server with its last user', () => {
  const relay = openRelay();
  relay.join('a', CHANNEL, null);
  relay.join('b', CHANNEL, null);
  expect(texts(relay.session({ type: 'unsubscribe', channels: [CHANNEL] }))).toEqual([]);
  expect(texts(relay.leave('a', [CHANNEL]))).toEqual([]);
  expect(texts(relay.remove('b'))).toEqual(['server unsubscribe']);
});

it('what arrives for a channel that all have left concerns no follower', () => {
  const relay = openRelay();
  relay.session({ type: 'unsubscribe', channels: [CHANNEL] });
  expect(texts(relay.received(event(6)))).toEqual(['session event 6']);
});

it('channel that is left before its answer ends after it', () => {
  const relay = new Relay(128);
  relay.join('a', CHANNEL, null);
  expect(texts(relay.leave('a', [CHANNEL]))).toEqual([]);
  expect(texts(relay.received(answer(5, [], true)))).toEqual(['server unsubscribe']);
});

it('followers read what a poll of the session has skipped', () => {
  const relay = openRelay();
  relay.join('a', CHANNEL, at(5));
  relay.session(asks(7));
  expect(texts(relay.received(answer(7)))).toEqual(['a joined', 'session subscribed 7']);
});

it('channel over the limit of the connection is refused for now', () => {
  const relay = openRelay(1);
  const [refusal] = relay.join('a', 'job.8', null);
  expect(refusal).toMatchObject({ to: ['a'], message: { type: 'refused', channel: 'job.8', code: 503 } });
  expect(texts(relay.join('a', CHANNEL, null))).toEqual(['a subscribed 5']);
});

it('pong goes to the page that asked', () => {
  const relay = openRelay();
  const [ping] = relay.ping('a', 'cd');
  expect(ping).toEqual({ to: 'server', message: { type: 'ping', nonce: 'a.cd' } });
  expect(relay.received({ type: 'pong', nonce: 'a.cd' })).toEqual([{ to: ['a'], message: { type: 'pong', nonce: 'cd' } }]);
});

it('server that reports a fault is known to pages that follow later', () => {
  const relay = openRelay();
  relay.received({ type: 'status', log: 'down', backend: 'ok' });
  expect(relay.health).toEqual({ log: 'down', backend: 'ok' });
  expect(texts(relay.received({ type: 'drain', after: 0, window: 1 }))).toEqual(['session drain']);
});
