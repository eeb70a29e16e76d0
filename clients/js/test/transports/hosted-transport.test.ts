/** A hosted provider shaped like a socket: what it carries, and what the log is asked for. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HostedTransport } from '../../src/transports/hosted/hosted-transport.js';
import type { Provider, ProviderHandlers } from '../../src/transports/hosted/provider.js';
import type { Fields, ServerMessage } from '../../src/messages.js';
import { HTTPError } from '../../src/http/request.js';
import type { TransportTools } from '../../src/transports/transport.js';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import type { Position } from '../../src/types.js';
import { eventFrame, settle } from '../support/bridge.js';

const CHANNEL = 'user-42';
const TOP = (offset: number): Fields => ({ epoch: 'aaaaaaaa', offset, id: `e${offset}` });

class FakeProvider implements Provider {
  readonly calls: string[] = [];
  closed = false;
  subscribe = (channel: string) => void this.calls.push(`subscribe ${channel}`);
  unsubscribe = (channel: string) => void this.calls.push(`unsubscribe ${channel}`);
  ping = () => void this.calls.push('ping');
  renew = () => void this.calls.push('renew');
  close = () => void (this.closed = true);
}

let provider: FakeProvider;
let handlers: ProviderHandlers;
let link: HostedTransport;
let messages: ServerMessage[];
let ended: [number, string][];
let opened: number;
let here: Record<string, Position | null>;
let hidden: boolean;
let guarantee: 'log' | 'signal';
let polls: { positions: Fields }[];
let answer: () => Fields;

const page = (offset: number, events: Fields[] = [], more = false): Fields => ({
  channels: { [CHANNEL]: { events, position: TOP(offset), more } },
  generation: 7,
  status: { log: 'ok', backend: 'ok' },
});

const tools: TransportTools = {
  timing: DEFAULT_TIMING,
  url: (name) => `http://bridge/${name}`,
  request: async (_, { body }) => {
    polls.push(body as { positions: Fields });
    return Response.json(answer());
  },
  parse: (text) => JSON.parse(text),
  positions: () => here,
  token: () => 'token-1',
  options: () => ({ key: 'k' }),
  guarantee: () => guarantee,
  isHidden: () => hidden,
};

const received = (type: string): ServerMessage[] => messages.filter((message) => message.type === type);

async function open(load: () => Promise<Provider> = async () => provider): Promise<void> {
  const opening = (_: unknown, its: ProviderHandlers) => ((handlers = its), load());
  link = new HostedTransport(opening, tools, {
    opened: () => (opened += 1),
    message: (message) => void messages.push(message),
    closed: (code, reason) => void ended.push([code, reason]),
  });
  await settle();
}

/** Connected, introduced, and subscribed at this offset. */
async function live(offset = 5): Promise<void> {
  await open();
  handlers.connected();
  link.send({ type: 'connect', token: 'token-1', nonce: 'n', version: 1 });
  await settle();
  link.send({ type: 'subscribe', channel: CHANNEL });
  handlers.subscribed(CHANNEL);
  answer = () => page(offset);
  here = { [CHANNEL]: { epoch: 'aaaaaaaa', offset, id: `e${offset}` } };
  await settle(10);
  messages = [];
  polls = [];
}

beforeEach(() => {
  vi.useFakeTimers();
  provider = new FakeProvider();
  [messages, ended, opened, hidden, polls] = [[], [], 0, false, []];
  here = { [CHANNEL]: null };
  guarantee = 'log';
  answer = () => page(0);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe('subscribing', () => {
  it('begins where the log stands once the provider carries the channel', async () => {
    await open();
    handlers.connected();
    link.send({ type: 'connect', token: 'token-1', nonce: 'n', version: 1 });
    await settle();
    expect([opened, messages]).toEqual([1, [{ type: 'welcome', nonce: 'n' }]]);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(1_000);
    expect([provider.calls, polls]).toEqual([[`subscribe ${CHANNEL}`], []]);
    answer = () => page(5);
    handlers.subscribed(CHANNEL);
    await settle(10);
    expect(polls).toEqual([{ positions: { [CHANNEL]: null } }]);
    expect(received('subscribed')).toEqual([{ type: 'subscribed', channel: CHANNEL, ...TOP(5), events: [], more: false }]);
  });

  it('asks for several channels at once', async () => {
    await open();
    handlers.connected();
    here = { a: null, b: null };
    for (const channel of ['a', 'b']) handlers.subscribed(channel);
    await settle(10);
    expect(polls).toEqual([{ positions: { a: null, b: null } }]);
  });

  it('tells of a refusal, whether the provider was refused or the log says so', async () => {
    await live();
    handlers.refused('user-7', 403, 'no');
    answer = () => ({ channels: { [CHANNEL]: { reset: 'forbidden', position: null } } });
    handlers.subscribed(CHANNEL);
    await settle(10);
    expect(received('refused').map(({ channel, code }) => [channel, code])).toEqual([
      ['user-7', 403],
      [CHANNEL, 403],
    ]);
  });

  it('tells of a hole, and then where it goes on', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { reset: 'truncated', position: TOP(90) } } });
    handlers.subscribed(CHANNEL);
    await settle(10);
    expect(messages.slice(0, 2).map(({ type, offset }) => [type, offset])).toEqual([
      ['reset', 90],
      ['subscribed', 90],
    ]);
  });

  it('without a log each subscription begins with a reset, and the log is never asked', async () => {
    guarantee = 'signal';
    await open();
    handlers.connected();
    handlers.subscribed(CHANNEL);
    await settle(120_000);
    expect(messages).toEqual([
      { type: 'reset', channel: CHANNEL, reason: 'signal' },
      { type: 'subscribed', channel: CHANNEL },
    ]);
    expect(polls).toEqual([]);
  });
});

describe('events', () => {
  it('are handed on, and what is none of ours is not', async () => {
    await live();
    for (const frame of [eventFrame(6), { type: 'welcome' }, null, 'text']) handlers.received(frame);
    expect(messages).toEqual([eventFrame(6)]);
  });

  it('that are missing are given half a second to come late', async () => {
    await live();
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(499);
    expect(polls).toEqual([]);
    await settle(261);
    expect(polls).toEqual([{ positions: here }]);
  });

  it('that are too large are fetched at once', async () => {
    await live();
    handlers.received({ type: 'stub', channel: CHANNEL, ...TOP(6) });
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(10);
    expect(polls).toHaveLength(1);
  });

  it('of which the log has another page are fetched at once', async () => {
    await live();
    answer = () => page(505, [eventFrame(505)], true);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(760);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(10);
    expect(polls).toHaveLength(2);
  });
});

describe('the check of positions, by the longest interval', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(1));

  /** What the machine would do: ask for what is known to be missing. */
  async function follow(): Promise<void> {
    for (const { offsets } of received('heartbeat')) {
      if ((offsets as Record<string, number>)[CHANNEL]) link.send({ type: 'subscribe', channel: CHANNEL });
    }
    messages = messages.filter(({ type }) => type !== 'heartbeat');
    await settle(760);
  }

  it('notices and fetches a last event that was lost within 35 s', async () => {
    await live();
    answer = () => page(6, [eventFrame(6)]);
    await settle(34_200);
    expect(received('heartbeat')).toEqual([{ type: 'heartbeat', offsets: { [CHANNEL]: 6 }, generation: 7 }]);
    await follow();
    expect(received('subscribed').map(({ events }) => events)).toEqual([[eventFrame(6)]]);
  });

  it('says nothing of channels that have not moved', async () => {
    await live();
    await settle(34_200);
    expect(received('heartbeat')).toEqual([{ type: 'heartbeat', offsets: {}, generation: 7 }]);
  });

  it('asks the log where the channel is when it is elsewhere', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { reset: 'epoch', position: TOP(1) } } });
    await settle(34_200);
    await follow();
    expect(received('reset').map(({ reason }) => reason)).toEqual(['epoch']);
  });

  it('gives up a provider that twice within five minutes had delivered nothing', async () => {
    await live();
    answer = () => page(6, [eventFrame(6)]);
    await settle(37_000);
    expect(ended).toEqual([]);
    await settle(37_000);
    expect(ended).toEqual([[1006, 'the provider delivers nothing']]);
    expect(provider.closed).toBe(true);
  });

  it('trusts a provider whose event was just under way', async () => {
    await live();
    answer = () => page(6, [eventFrame(6)]);
    for (let check = 0; check < 3; check += 1) {
      while (!received('heartbeat').length) await settle(100);
      handlers.received(eventFrame(6));
      messages = [];
      await settle(2_000);
    }
    expect(ended).toEqual([]);
  });

  it('rests while nobody sees the page, and while the log does not answer it goes on later', async () => {
    hidden = true;
    await live();
    await settle(120_000);
    expect(polls).toEqual([]);
    hidden = false;
    answer = () => {
      throw new HTTPError('no', 503);
    };
    await settle(34_200);
    expect(polls).toHaveLength(1);
    answer = () => page(5);
    await settle(34_200);
    expect(polls).toHaveLength(2);
    expect(received('heartbeat')).toHaveLength(1);
  });
});

describe('the connection', () => {
  it('is lost with the provider', async () => {
    await live();
    handlers.lost('it is unavailable');
    handlers.lost('again');
    handlers.received(eventFrame(6));
    expect(ended).toEqual([[1006, 'it is unavailable']]);
    expect([messages, provider.closed]).toEqual([[], true]);
  });

  it('is none where the SDK is not installed', async () => {
    await open(async () => Promise.reject(new Error('npm install it')));
    expect(ended).toEqual([[1006, 'Error: npm install it']]);
  });

  it('that was closed while the SDK was loaded is closed then', async () => {
    let loaded: (provider: Provider) => void = () => {};
    await open(() => new Promise((resolve) => (loaded = resolve)));
    link.close();
    loaded(provider);
    await settle();
    expect(provider.closed).toBe(true);
  });

  it('asks the provider for a sign of life after ten seconds without one', async () => {
    await live();
    for (let second = 0; second < 30; second += 5) {
      handlers.alive();
      await settle(5_000);
    }
    expect(provider.calls).not.toContain('ping');
    await settle(20_000);
    expect(provider.calls).toContain('ping');
    expect(received('pong')).toHaveLength(6);
  });

  it('passes on a ping and a fresh token', async () => {
    await live();
    link.send({ type: 'ping', nonce: 'p' });
    link.send({ type: 'token', token: 'token-2' });
    link.send({ type: 'unsubscribe', channel: CHANNEL });
    expect(provider.calls.slice(-3)).toEqual(['ping', 'renew', `unsubscribe ${CHANNEL}`]);
  });

  it('wants a fresh token when permission or a poll is answered 401', async () => {
    await live();
    handlers.refused(CHANNEL, 401, 'expired');
    await live();
    answer = () => {
      throw new HTTPError('no', 401);
    };
    handlers.subscribed(CHANNEL);
    await settle(10);
    expect(ended.map(([code]) => code)).toEqual([4401, 4401]);
  });

  it('lets a channel be asked for again when the log does not answer', async () => {
    await live();
    answer = () => {
      throw new TypeError('fetch failed');
    };
    handlers.subscribed(CHANNEL);
    await settle(10);
    expect(received('refused').map(({ code }) => code)).toEqual([503]);
  });
});
