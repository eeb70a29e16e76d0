/** Scripted `fetch` and `WebSocket`, for tests with fake timers. */

import { vi } from 'vitest';

type Fields = Record<string, any>;
type Answer = Response | Fields | (() => Fields | Promise<Fields>);

export const DESCRIPTOR: Fields = {
  provider: 'websocket',
  mode: 'realtime',
  guarantee: 'log',
  user: '42',
  token: 'token-1',
  expires: 600,
  urls: { connect: 'connect', websocket: 'ws', poll: 'poll', sse: 'sse', latest: 'latest' },
  heartbeat: 10,
  max_age: null,
  generation: 0,
};

/** WebSocket with the methods of its server side. */
export class FakeSocket {
  static opened: FakeSocket[] = [];
  /** True if the server receives nothing. */
  static silent = false;
  readyState = 0;
  readonly sent: Fields[] = [];
  closedWith: number | undefined;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(
    readonly url: string | URL,
    readonly protocols?: string | string[],
  ) {
    FakeSocket.opened.push(this);
  }

  static get last(): FakeSocket {
    return FakeSocket.opened.at(-1)!;
  }

  send(text: string): void {
    const frame = JSON.parse(text);
    this.sent.push(frame);
    if (FakeSocket.silent) return;
    if (frame.type === 'ping') queueMicrotask(() => this.receive({ type: 'pong', nonce: frame.nonce }));
    if (frame.type === 'token') queueMicrotask(() => this.receive({ type: 'welcome', nonce: frame.nonce }));
  }

  close(code = 1000): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  receive(frame: Fields): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' });
  }

  requested(type: string): Fields[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** Open, send `welcome`, and answer each subscription with this position. */
  live(position: Fields = { epoch: 'aaaaaaaa', offset: 0 }): void {
    this.open();
    this.receive({ type: 'welcome', nonce: this.requested('connect')[0]!.nonce, client: 'c', user: '42' });
    for (const { channel } of this.requested('subscribe')) this.answer(channel, position);
  }

  answer(channel: string, position: Fields, events: Fields[] = []): void {
    this.receive({ type: 'subscribed', channel, ...position, recovered: true, events, more: false });
  }

  push(offset: number, more: Fields = {}): void {
    this.receive(eventFrame(offset, more));
  }
}

export function eventFrame(offset: number, more: Fields = {}): Fields {
  const position = { epoch: 'aaaaaaaa', offset, id: `e${offset}` };
  return { type: 'event', channel: 'user-42', event: 'job.step', ...position, data: { offset }, ...more };
}

export class FakeBridge {
  /** Responses by route; an Error is a failed network, a number a refusal of the bridge with this HTTP status. */
  readonly answers: Record<string, Answer | number | Error> = {
    connect: DESCRIPTOR,
    poll: { channels: {}, next_ms: null, generation: 0, status: { log: 'ok', backend: 'ok' } },
  };
  readonly requests: { route: string; body: Fields; token: string | null; signal: AbortSignal }[] = [];

  install(): this {
    FakeSocket.opened = [];
    FakeSocket.silent = false;
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => this.fetch(url, init));
    return this;
  }

  requested(route: string): Fields[] {
    return this.requests.filter((request) => request.route === route).map(({ body }) => body);
  }

  private async fetch(url: string, init: RequestInit): Promise<Response> {
    const route = new URL(url).pathname.split('/').at(-1)!;
    const { 'realtime-token': token = null } = init.headers as Record<string, string | null>;
    const body = init.body ? JSON.parse(init.body as string) : {};
    this.requests.push({ route, body, token, signal: init.signal! });
    const answer = this.answers[route];
    if (answer instanceof Error) throw answer;
    if (typeof answer === 'number') {
      return Response.json({ error: { code: 'refused', message: 'no' } }, { status: answer });
    }
    if (answer instanceof Response) return answer.clone();
    return Response.json(typeof answer === 'function' ? await answer() : answer);
  }
}

/** Advance the fake timers, and run everything that is due. */
export async function settle(milliseconds = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}
