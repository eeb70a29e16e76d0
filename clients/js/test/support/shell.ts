/** Client without a machine and a network, driven by the steps of `shell.json`; see tests/vectors/README.md. */

import { expect, vi } from 'vitest';
import { SubscriptionSet } from '../../src/channels/subscription-set.js';
import { BridgeHTTP } from '../../src/http/bridge-http.js';
import { DescriptorStore } from '../../src/http/descriptor.js';
import type { Machine } from '../../src/machine/machine.js';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import { TransportManager } from '../../src/transports/transport-manager.js';
import { camel, snakeKeys } from './names.js';
import type { Fields } from './names.js';

const URL_OF_BRIDGE = 'https://example.com/realtime';
const EFFECTS = ['inputs', 'requests', 'send', 'deliver'] as const;

/** Arguments of an input: names of positional ones, or those in an object with their defaults. */
type Signature = (string | Fields)[];

const SIGNATURES: Record<string, Signature> = {
  descriptor_received: ['terms'],
  descriptor_failed: ['status', 'code', 'retry_after', 'message'],
  opened: ['socket'],
  ready: ['socket'],
  message_received: ['socket'],
  event_received: [],
  closed: ['socket', 'code', 'reason', 'message'],
  drain: ['socket', 'after', 'window'],
  generation: ['generation'],
  health: ['socket', { ok: null, sent: null }],
  clock_changed: ['socket'],
  answer_overdue: ['socket'],
  answered: ['socket', { prompt: null }],
  answer_missing: ['socket'],
  poll_succeeded: [{ moved: false, more: false, next_ms: null, ok: true }],
  poll_failed: [{ status: null, retry_after: null, code: null, message: null }],
};

let sockets: FakeWebSocket[];
let requests: PendingRequest[];
let effects: Record<(typeof EFFECTS)[number], unknown[]>;

/** WebSocket whose events the steps give. */
class FakeWebSocket {
  readonly readyState = 1;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  closedByClient = false;
  private readonly _number = sockets.push(this);
  private readonly _nonces: Record<string, string> = {};

  send(text: string): void {
    const message = JSON.parse(text);
    if (message.type === 'connect') this._nonces.NONCE = message.nonce;
    if (message.type === 'ping') this._nonces.PING = message.nonce;
    effects.send.push([this._number, 'nonce' in message ? { ...message, nonce: 'NONCE' } : message]);
  }

  close(): void {
    this.closedByClient = true;
  }

  receive(message: Fields): void {
    const nonce = this._nonces[message.nonce];
    this.onmessage?.({ data: JSON.stringify({ ...message, ...(nonce !== undefined && { nonce }) }) });
  }
}

interface PendingRequest {
  resolve(response: unknown): void;
  reject(error: Error): void;
}

/** `fetch` whose responses the steps give. */
function fakeFetch(url: string, { body, headers, signal }: Fields): Promise<unknown> {
  const route = url.replace(`${URL_OF_BRIDGE}/`, '');
  const token = headers['realtime-token'];
  effects.requests.push({ route, body: JSON.parse(body), token });
  return new Promise((resolve, reject) => {
    requests.push({ resolve, reject });
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

function respond({ status, fields = {}, text, retry_after: retryAfter }: Fields): void {
  const request = requests.shift()!;
  const headers = {
    'content-type': text === undefined ? 'application/json' : 'text/html',
    ...(retryAfter && { 'retry-after': String(retryAfter / 1_000) }),
  };
  if (status === null) request.reject(new TypeError('network failure'));
  else request.resolve(new Response(text ?? JSON.stringify(fields), { status, headers }));
}

/** Machine that records its inputs with all arguments, and has no commands. */
const RECORDER = Object.fromEntries(
  Object.entries(SIGNATURES).map(([name, signature]) => [
    camel(name),
    (...args: any[]) => effects.inputs.push([name, argumentsOf(signature, args)]),
  ]),
) as unknown as Machine;

function argumentsOf(signature: Signature, args: any[]): Fields {
  expect(args.length).toBeLessThanOrEqual(signature.length);
  return Object.assign({}, ...signature.map((part, index) => argumentOf(part, args[index])));
}

function argumentOf(part: string | Fields, value: any): Fields {
  if (typeof part === 'string') return { [part]: part === 'terms' ? snakeKeys(value) : value };
  return Object.fromEntries(
    Object.entries(part).map(([name, otherwise]) => [name, value?.[camel(name)] ?? otherwise]),
  );
}

class Shell {
  private readonly _subscriptions = new SubscriptionSet({
    client: 'c_1',
    latest: () => Promise.reject(new Error('no handler wants a snapshot')),
    telemetry: () => {},
    loaded: () => {},
    requested: () => {},
    ended: () => {},
  }, DEFAULT_TIMING);
  private readonly _manager: TransportManager;

  constructor(private readonly _channels: Fields) {
    const descriptors = new DescriptorStore({
      endpoint: URL_OF_BRIDGE,
      reuse: DEFAULT_TIMING.descriptorReuse,
      client: 'c_1',
      token: 'application',
    });
    const http = new BridgeHTTP(descriptors);
    this._manager = new TransportManager(
      this._subscriptions,
      descriptors,
      http,
      { transport: 'auto', heartbeatInterval: 30_000 },
      DEFAULT_TIMING,
      (apply) => apply(RECORDER),
      () => {},
    );
    for (const [channel, position] of Object.entries(_channels)) {
      this._subscriptions.add(channel, {
        onEvent: ({ id }) => void effects.deliver.push({ channel, event: id }),
        onReset: ({ reason, position }) => void effects.deliver.push({ channel, reset: reason, position }),
        onError: ({ message }) => void effects.deliver.push({ channel, error: message }),
        ...(position && { position }),
      });
    }
  }

  act(step: Fields): void {
    const socket = sockets[(step.socket ?? 1) - 1]!;
    if ('command' in step) {
      const { command, socket: number = null, code = null } = step;
      this._manager.perform({ do: command, socket: number, code });
    } else if ('http' in step) respond(step.http);
    else if ('advance' in step) vi.advanceTimersByTime(step.advance);
    else if ('opened' in step) socket.onopen?.();
    else if ('receive' in step) socket.receive(step.receive);
    else socket.onclose?.({ code: step.closed, reason: '' });
  }

  get state(): Fields {
    const errors = Object.keys(this._channels)
      .map((name) => [name, this._subscriptions.state(name).get().error])
      .filter(([, error]) => error);
    return {
      behind: this._subscriptions.behind.sort(),
      errors: Object.fromEntries(errors),
      closed_by_client: sockets.flatMap(({ closedByClient }, index) => (closedByClient ? [index + 1] : [])),
    };
  }
}

/** Replay a vector with the steps that it starts with. */
export async function replayShell({ channels, start, steps }: Fields, starts: Fields): Promise<void> {
  [sockets, requests] = [[], []];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  vi.stubGlobal('WebSocket', FakeWebSocket);
  vi.stubGlobal('fetch', fakeFetch);
  try {
    await replaySteps(new Shell(channels), [...starts[start], ...steps]);
  } finally {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  }
}

async function replaySteps(shell: Shell, steps: Fields[]): Promise<void> {
  for (const [number, step] of steps.entries()) {
    const where = `step ${number}: ${JSON.stringify(step)}`;
    effects = { inputs: [], requests: [], send: [], deliver: [] };
    shell.act(step);
    await new Promise((resolve) => setImmediate(resolve));
    for (const name of EFFECTS) expect(effects[name], `${where}: ${name}`).toEqual(step[name] ?? []);
    for (const [name, value] of Object.entries(shell.state)) {
      if (name in step) expect(value, `${where}: ${name}`).toEqual(step[name]);
    }
  }
}
