/** A bridge made of nothing: scripted `fetch` and `WebSocket`, for tests with fake timers. */

import { vi } from 'vitest';

type Fields = Record<string, any>;
type Answer = Fields | (() => Fields | Promise<Fields>);

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

/** One socket, as its server sees it. */
export class FakeSocket {
  static opened: FakeSocket[] = [];
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
    this.sent.push(JSON.parse(text));
  }

  close(code = 1000): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  say(frame: Fields): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' });
  }

  asked(type: string): Fields[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** Open, welcome, and answer each subscription at this position. */
  live(position: Fields = { epoch: 'aaaaaaaa', offset: 0 }): void {
    this.open();
    this.say({ type: 'welcome', nonce: this.asked('connect')[0]!.nonce, client: 'c', user: '42' });
    for (const { channel } of this.asked('subscribe')) this.answer(channel, position);
  }

  answer(channel: string, position: Fields, events: Fields[] = []): void {
    this.say({ type: 'subscribed', channel, ...position, recovered: true, events, more: false });
  }

  push(offset: number, more: Fields = {}): void {
    this.say(eventFrame(offset, more));
  }
}

export function eventFrame(offset: number, more: Fields = {}): Fields {
  const place = { epoch: 'aaaaaaaa', offset, id: `e${offset}` };
  return { type: 'event', channel: 'user-42', event: 'job.step', ...place, data: { offset }, ...more };
}

export class FakeBridge {
  /** What each route answers; an Error is a network that fails, a number is a bare HTTP status. */
  readonly answers: Record<string, Answer | number | Error> = {
    connect: DESCRIPTOR,
    poll: { channels: {}, next_ms: null, generation: 0, status: { log: 'ok', backend: 'ok' } },
  };
  readonly requests: { route: string; body: Fields; token: string | null; signal: AbortSignal }[] = [];

  install(): this {
    FakeSocket.opened = [];
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => this.fetch(url, init));
    return this;
  }

  asked(route: string): Fields[] {
    return this.requests.filter((request) => request.route === route).map(({ body }) => body);
  }

  private async fetch(url: string, init: RequestInit): Promise<Response> {
    const route = new URL(url).pathname.split('/').at(-1)!;
    const { authorization = null } = init.headers as Record<string, string | null>;
    const body = init.body ? JSON.parse(init.body as string) : {};
    this.requests.push({ route, body, token: authorization, signal: init.signal! });
    const answer = this.answers[route];
    if (answer instanceof Error) throw answer;
    if (typeof answer === 'number') return new Response('<html>', { status: answer });
    return Response.json(typeof answer === 'function' ? await answer() : answer);
  }
}

/** Let everything that is ready happen. */
export async function settle(milliseconds = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}
