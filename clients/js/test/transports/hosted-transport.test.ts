/** Transport of hosted providers: forwarded events, and requests to the log. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CloseCode } from '../../src/close-codes.js';
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
  channelLimit: () => 128,
  token: () => 'token-1',
  options: () => ({ key: 'k' }),
  guarantee: () => guarantee,
  control: () => '@control',
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

/** Connect, and subscribe at an offset. */
async function live(offset = 5): Promise<void> {
  await open();
  handlers.connected();
  link.send({ type: 'connect', token: 'token-1', nonce: 'n', version: 1 });
  await settle();
  link.send({ type: 'subscribe', channel: CHANNEL });
  handlers.subscribed(CHANNEL);
  answer = () => page(offset);
  here = { [CHANNEL]: { epoch: 'aaaaaaaa', offset, id: `e${offset}` } };
  await settle(310);
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
  it('starts at the position of the log after the subscription', async () => {
    await open();
    handlers.connected();
    link.send({ type: 'connect', token: 'token-1', nonce: 'n', version: 1 });
    await settle();
    expect([opened, messages]).toEqual([1, [{ type: 'welcome', nonce: 'n' }]]);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(1_000);
    expect([provider.calls, polls]).toEqual([['subscribe @control', `subscribe ${CHANNEL}`], []]);
    answer = () => page(5);
    handlers.subscribed(CHANNEL);
    await settle(310);
    expect(polls).toEqual([{ positions: { [CHANNEL]: null } }]);
    expect(received('subscribed')).toEqual([{ type: 'subscribed', channel: CHANNEL, ...TOP(5), events: [], more: false }]);
  });

  it('requests several channels at once', async () => {
    await open();
    handlers.connected();
    here = { a: null, b: null };
    for (const channel of ['a', 'b']) handlers.subscribed(channel);
    await settle(310);
    expect(polls).toEqual([{ positions: { a: null, b: null } }]);
  });

  it('reports a refusal of the provider or the log', async () => {
    await live();
    handlers.refused('user-7', 403, 'no');
    answer = () => ({ channels: { [CHANNEL]: { reset: 'forbidden', position: null } } });
    handlers.subscribed(CHANNEL);
    await settle(310);
    expect(received('refused').map(({ channel, code }) => [channel, code])).toEqual([
      ['user-7', 403],
      [CHANNEL, 403],
    ]);
  });

  it('reports a reset with the position after it', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { reset: 'truncated', position: TOP(90) } } });
    handlers.subscribed(CHANNEL);
    await settle(310);
    expect(messages.slice(0, 2).map(({ type, offset }) => [type, offset])).toEqual([
      ['reset', 90],
      ['subscribed', 90],
    ]);
  });

  it('signal mode starts with a reset and never reads the log', async () => {
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
  it('are forwarded, other data is not', async () => {
    await live();
    for (const frame of [eventFrame(6), { type: 'welcome' }, null, 'text']) handlers.received(frame);
    expect(messages).toEqual([eventFrame(6)]);
  });

  it('that are missing may arrive within half a second', async () => {
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

  it('of a further page are fetched at once', async () => {
    await live();
    answer = () => page(505, [eventFrame(505)], true);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(760);
    link.send({ type: 'subscribe', channel: CHANNEL });
    await settle(10);
    expect(polls).toHaveLength(2);
  });
});

describe('position check with the longest interval', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(1));

  /** Request missing events, as the machine would. */
  async function follow(): Promise<void> {
    for (const { offsets } of received('heartbeat')) {
      if ((offsets as Record<string, number>)[CHANNEL]) link.send({ type: 'subscribe', channel: CHANNEL });
    }
    messages = messages.filter(({ type }) => type !== 'heartbeat');
    await settle(760);
  }

  it('recovers a lost last event within 35 s', async () => {
    await live();
    answer = () => page(6, [eventFrame(6)]);
    await settle(34_200);
    expect(received('heartbeat')).toEqual([{ type: 'heartbeat', offsets: { [CHANNEL]: 6 }, generation: 7 }]);
    await follow();
    expect(received('subscribed').map(({ events }) => events)).toEqual([[eventFrame(6)]]);
  });

  it('reports no channel without new events', async () => {
    await live();
    await settle(34_200);
    expect(received('heartbeat')).toEqual([{ type: 'heartbeat', offsets: {}, generation: 7 }]);
  });

  it('reads the log after a change of epoch', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { reset: 'epoch', position: TOP(1) } } });
    await settle(34_200);
    await follow();
    expect(received('reset').map(({ reason }) => reason)).toEqual(['epoch']);
  });

  it('closes after two missed events within five minutes', async () => {
    await live();
    answer = () => page(6, [eventFrame(6)]);
    await settle(37_000);
    expect(ended).toEqual([]);
    await settle(37_000);
    expect(ended).toEqual([[CloseCode.UNDELIVERED, 'the provider delivers nothing']]);
    expect(provider.closed).toBe(true);
  });

  it('accepts an event that arrives shortly after the check', async () => {
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

  it('pauses on a hidden page and survives a failed request', async () => {
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
  it('is closed with the provider', async () => {
    await live();
    handlers.lost('it is unavailable');
    handlers.lost('again');
    handlers.received(eventFrame(6));
    expect(ended).toEqual([[1006, 'it is unavailable']]);
    expect([messages, provider.closed]).toEqual([[], true]);
  });

  it('is closed when the SDK is missing', async () => {
    await open(async () => Promise.reject(new Error('npm install it')));
    expect(ended).toEqual([[1006, 'npm install it']]);
  });

  it('closed during the load of the SDK closes the provider', async () => {
    let loaded: (provider: Provider) => void = () => {};
    await open(() => new Promise((resolve) => (loaded = resolve)));
    link.close();
    loaded(provider);
    await settle();
    expect(provider.closed).toBe(true);
  });

  it('is silent for less than the limit of the client, whenever the last sign of life was', async () => {
    await live();
    for (const sign of [() => handlers.alive(), () => handlers.received(eventFrame(6))]) {
      await settle(7_300);
      provider.calls.length = 0;
      sign();
      await settle(9_999);
      expect(provider.calls).toEqual([]);
      await settle(1);
      expect(provider.calls).toEqual(['ping']);
    }
  });

  it('pings the provider after ten seconds of silence', async () => {
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

  it('forwards a ping and a fresh token', async () => {
    await live();
    link.send({ type: 'ping', nonce: 'p' });
    link.send({ type: 'token', token: 'token-2', nonce: 'n' });
    link.send({ type: 'unsubscribe', channels: [CHANNEL] });
    expect(provider.calls.slice(-3)).toEqual(['ping', 'renew', `unsubscribe ${CHANNEL}`]);
  });

  it('closes with TOKEN after a 401 of authorization or poll', async () => {
    await live();
    handlers.refused(CHANNEL, 401, 'expired');
    await live();
    answer = () => {
      throw new HTTPError('no', 401);
    };
    handlers.subscribed(CHANNEL);
    await settle(310);
    expect(ended.map(([code]) => code)).toEqual([CloseCode.TOKEN, CloseCode.TOKEN]);
  });

  it('closes with TOKEN after a 401 or 403 of a position check', async () => {
    for (const status of [401, 403]) {
      await live();
      answer = () => {
        throw new HTTPError('no', status);
      };
      await settle(34_200);
    }
    expect(ended.map(([code]) => code)).toEqual([CloseCode.TOKEN, CloseCode.TOKEN]);
  });

  it('goes on without a channel that the provider does not answer', async () => {
    await live();
    link.send({ type: 'subscribe', channel: 'slow' });
    await settle(3_999);
    expect(messages).toEqual([]);
    await settle(1);
    expect(received('refused').map(({ channel, code }) => [channel, code])).toEqual([['slow', 503]]);
    handlers.subscribed('slow');
    answer = () => ({ channels: { slow: { events: [], position: TOP(1), more: false } } });
    here = { ...here, slow: null };
    await settle(310);
    expect(received('subscribed').map(({ channel }) => channel)).toEqual(['slow']);
  });

  it('subscribes again to a channel that failed', async () => {
    await live();
    handlers.refused(CHANNEL, 503, 'the channel failed');
    provider.calls.length = 0;
    link.send({ type: 'subscribe', channel: CHANNEL });
    expect(provider.calls).toEqual([`subscribe ${CHANNEL}`]);
    await settle(34_200);
    expect(polls).toEqual([]);
  });

  it('refuses a channel temporarily when the log does not answer', async () => {
    await live();
    answer = () => {
      throw new TypeError('fetch failed');
    };
    handlers.subscribed(CHANNEL);
    await settle(310);
    expect(received('refused').map(({ code }) => code)).toEqual([503]);
  });
});

describe('a revocation', () => {
  const REVOKED = { type: 'event', channel: CHANNEL, event: '@realtime.revoked', id: 'r', data: null };

  it('of the user ends the connection at once', async () => {
    await live();
    answer = () => {
      throw new HTTPError('no', 401);
    };
    handlers.received({ ...REVOKED, channel: '@control' });
    await settle(600);
    expect(ended.map(([code]) => code)).toEqual([CloseCode.TOKEN]);
    expect(messages).toEqual([]);
  });

  it('of a channel ends that channel, at the provider too', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { error: { code: 403, message: 'no' } } }, generation: 7 });
    provider.calls.length = 0;
    handlers.received(REVOKED);
    await settle(600);
    expect(messages.map(({ type, code }) => [type, code])).toEqual([['refused', 403]]);
    expect(provider.calls).toEqual([`unsubscribe ${CHANNEL}`]);
    expect(ended).toEqual([]);
  });

  it('that a rule could not decide ends nothing', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { error: { code: 500, message: 'the rule failed' } } } });
    handlers.received(REVOKED);
    await settle(600);
    expect([polls.length, messages, ended]).toEqual([1, [], []]);
  });

  it('of others changes nothing', async () => {
    await live();
    handlers.received(REVOKED);
    await settle(600);
    expect([polls.length, messages, ended]).toEqual([1, [], []]);
  });

  it('that was not announced is noticed by the next position check', async () => {
    await live();
    answer = () => ({ channels: { [CHANNEL]: { error: { code: 403, message: 'no' } } }, generation: 7 });
    await settle(34_200);
    expect(received('refused').map(({ code }) => code)).toEqual([403]);
    expect(received('heartbeat')).toEqual([{ type: 'heartbeat', offsets: {}, generation: 7 }]);
  });

  it('is announced on a channel of its own, from which the client forwards nothing', async () => {
    await live();
    handlers.subscribed('@control');
    handlers.refused('@control', 503, 'no');
    await settle(600);
    expect([messages, polls]).toEqual([[], []]);
  });
});
