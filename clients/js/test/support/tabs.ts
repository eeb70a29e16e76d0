/** Tabs of one browser in one process: locks, sockets without a network, and sessions that only connect. */

import { vi } from 'vitest';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import type { ClientMessage, ServerMessage } from '../../src/messages.js';
import { share } from '../../src/transports/shared/shared-transport.js';
import type { OpenTransport, Transport, TransportHandlers, TransportTools } from '../../src/transports/transport.js';

type Hold = (lock: null) => unknown;

/** The part of the Web Locks API that tabs use. */
export class FakeLocks {
  /** Holders and those who wait, by name: the first one holds the lock. */
  private readonly _queues = new Map<string, (() => void)[]>();

  /** Names of the locks that are held or awaited. */
  get names(): string[] {
    return [...this._queues.keys()];
  }

  request(name: string, ...rest: [Hold] | [LockOptions, Hold]): Promise<unknown> {
    const hold = rest.at(-1) as Hold;
    const { signal } = rest.length > 1 ? (rest[0] as LockOptions) : {};
    const queue = this._queues.get(name) ?? [];
    this._queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const next = () => {
        queue.splice(queue.indexOf(grant), 1);
        if (queue[0]) queue[0]();
        else this._queues.delete(name);
      };
      let isGranted = false;
      const grant = () => {
        isGranted = true;
        void Promise.resolve().then(() => hold(null)).then(resolve, reject).finally(next);
      };
      signal?.addEventListener('abort', () => {
        if (isGranted) return;
        reject(signal.reason);
        queue.splice(queue.indexOf(grant), 1);
      });
      if (queue.push(grant) === 1) grant();
    });
  }
}

export class FakeSocket implements Transport {
  readonly sent: ClientMessage[] = [];
  isClosed = false;

  constructor(readonly handlers: TransportHandlers) {}

  send(message: ClientMessage): void {
    this.sent.push(message);
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Give this process the parts of a browser that tabs use. */
export function stubBrowser(locks: Pick<FakeLocks, 'request'>): void {
  vi.stubGlobal('document', new EventTarget());
  vi.stubGlobal('window', new EventTarget());
  vi.stubGlobal('navigator', { locks });
}

export function tokenOf(user: string): string {
  return `e30.${Buffer.from(JSON.stringify({ sub: user })).toString('base64url')}.x`;
}

/** Tab with its transport, and the messages and close codes of its session. */
export class FakeTab implements TransportHandlers {
  readonly sockets: FakeSocket[] = [];
  readonly messages: ServerMessage[] = [];
  readonly closes: number[] = [];
  readonly transport: Transport;
  isOpened = false;
  token = tokenOf('ann');

  constructor() {
    const open: OpenTransport = (_, handlers) => {
      const socket = new FakeSocket(handlers);
      this.sockets.push(socket);
      return socket;
    };
    const tools = { timing: DEFAULT_TIMING, token: () => this.token, url: () => 'https://a.example/ws', channelLimit: () => 10, positions: () => ({}), isHidden: () => false };
    this.transport = share(open)(tools as unknown as TransportTools, this);
  }

  opened(): void {
    this.isOpened = true;
  }

  connect(): void {
    this.transport.send({ type: 'connect', token: this.token, nonce: 'ab', version: 1 });
  }

  message(message: ServerMessage): void {
    this.messages.push(message);
  }

  closed(code: number): void {
    this.closes.push(code);
  }
}
