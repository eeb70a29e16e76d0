/** A WebSocket to any server that comes back by itself: the core of `useWebSocket`. */

import { delay } from './backoff.js';
import { report } from './report.js';
import { Store } from './store.js';
import type { ReadableStore } from './types.js';

export interface SocketOptions {
  /** Milliseconds, the upper bound of the first wait; 3 000 by default. */
  reconnectInterval?: number;
  /** Failures in a row after which it gives up until `reconnect()`; 5 by default. */
  maxReconnectAttempts?: number;
  /** Milliseconds after which `heartbeatMessage` is sent if nothing else was; 30 000 by default, 0: never. */
  heartbeatInterval?: number;
  /** What is sent then; `{"type":"ping"}` by default. */
  heartbeatMessage?: string;
  /** Subprotocols to offer. */
  protocols?: string | string[];
  /** Called once for every message, in order; nothing is merged or dropped. */
  onMessage?: (message: MessageEvent) => void;
}

export interface SocketState {
  readonly status: 'connected' | 'connecting' | 'disconnected';
  readonly lastMessage: MessageEvent | null;
  /** Failures in a row. */
  readonly attempts: number;
}

const NORMAL = 1000;

/** Nothing is connected before `start()`. */
export class ReconnectingSocket {
  private readonly store = new Store<SocketState>({
    status: 'disconnected',
    lastMessage: null,
    attempts: 0,
  });
  private socket: WebSocket | null = null;
  private reopening: ReturnType<typeof setTimeout> | undefined;
  private heartbeat: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string | URL,
    private readonly options: SocketOptions = {},
  ) {}

  get state(): ReadableStore<SocketState> {
    return this.store;
  }

  start(): void {
    if (!this.socket) this.open();
  }

  /** Send now; false when there is no open socket. Objects are sent as JSON. */
  send(message: string | ArrayBufferLike | Blob | ArrayBufferView | object): boolean {
    if (this.socket?.readyState !== 1) return false;
    this.socket.send(isRaw(message) ? message : JSON.stringify(message));
    this.beat();
    return true;
  }

  /** Begin anew at once, whatever was given up. */
  reconnect(): void {
    this.release(NORMAL);
    this.store.merge({ attempts: 0 });
    this.open();
  }

  /** End; only `start` and `reconnect` open it again. */
  close(code = NORMAL, reason = ''): void {
    this.release(code, reason);
    this.store.merge({ status: 'disconnected' });
  }

  private open(): void {
    clearTimeout(this.reopening);
    this.store.merge({ status: 'connecting' });
    try {
      this.listen(new WebSocket(this.url, this.options.protocols));
    } catch (error) {
      report(error);
      this.store.merge({ status: 'disconnected' });
    }
  }

  private listen(socket: WebSocket): void {
    this.socket = socket;
    socket.onopen = () => {
      this.store.merge({ status: 'connected', attempts: 0 });
      this.beat();
    };
    socket.onmessage = (message: MessageEvent) => this.receive(message);
    socket.onclose = () => this.lost();
  }

  private receive(message: MessageEvent): void {
    this.store.merge({ lastMessage: message });
    try {
      this.options.onMessage?.(message);
    } catch (error) {
      report(error);
    }
  }

  private lost(): void {
    clearTimeout(this.heartbeat);
    this.socket = null;
    const { reconnectInterval = 3_000, maxReconnectAttempts = 5 } = this.options;
    const { attempts } = this.store.get();
    this.store.merge({ status: 'disconnected', attempts: attempts + 1 });
    if (attempts >= maxReconnectAttempts) return;
    const wait = delay(attempts, Math.random(), { base: reconnectInterval / 1_000 }) * 1_000;
    this.reopening = setTimeout(() => this.open(), wait);
  }

  private release(code: number, reason = ''): void {
    clearTimeout(this.reopening);
    clearTimeout(this.heartbeat);
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(code, reason);
    this.socket = null;
  }

  private beat(): void {
    clearTimeout(this.heartbeat);
    const { heartbeatInterval = 30_000, heartbeatMessage = '{"type":"ping"}' } = this.options;
    if (heartbeatInterval > 0) {
      this.heartbeat = setTimeout(() => this.send(heartbeatMessage), heartbeatInterval);
    }
  }
}

function isRaw(message: unknown): message is string | ArrayBuffer | Blob {
  return (
    typeof message === 'string' ||
    message instanceof ArrayBuffer ||
    ArrayBuffer.isView(message) ||
    (typeof Blob !== 'undefined' && message instanceof Blob)
  );
}
