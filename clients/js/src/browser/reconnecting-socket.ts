/** WebSocket to any server that reconnects by itself: the core of `useWebSocket`. */

import { CloseCode } from '../close-codes.js';
import { backoff } from '../machine/backoff.js';
import type { ReadableStore } from '../types.js';
import { guarded, report } from './report.js';
import { Store } from './store.js';

export interface SocketOptions {
  /** Upper bound of the first wait before a reconnect, in milliseconds; 3 000 by default. */
  reconnectInterval?: number;
  /** Failures in a row after which the socket stays closed until `reconnect()`; 5 by default. */
  maxReconnectAttempts?: number;
  /** Time without a sent message after which `heartbeatMessage` is sent, in milliseconds; 30 000 by default, 0: never. */
  heartbeatInterval?: number;
  /** Text of the heartbeat; `{"type":"ping"}` by default. */
  heartbeatMessage?: string;
  /** Subprotocols to offer. */
  protocols?: string | string[];
  /** Called once for every message, in order. */
  onMessage?: (message: MessageEvent) => void;
}

export interface SocketState {
  readonly status: 'connected' | 'connecting' | 'disconnected';
  readonly lastMessage: MessageEvent | null;
  /** Failures in a row. */
  readonly attempts: number;
}

/** State before `start()`. */
export const CLOSED: SocketState = { status: 'disconnected', lastMessage: null, attempts: 0 };

/** WebSocket with reconnects; `start()` opens it. */
export class ReconnectingSocket {
  private readonly _store = new Store(CLOSED);
  private _socket: WebSocket | null = null;
  private _reopening: ReturnType<typeof setTimeout> | undefined;
  private _heartbeat: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _url: string | URL,
    private readonly _options: SocketOptions = {},
  ) {}

  get state(): ReadableStore<SocketState> {
    return this._store;
  }

  start(): void {
    if (!this._socket) this._open();
  }

  /** Send a message, objects as JSON; return false where no socket is open. */
  send(message: string | ArrayBufferLike | Blob | ArrayBufferView | object): boolean {
    if (this._socket?.readyState !== 1) return false;
    this._socket.send(isPlain(message) ? JSON.stringify(message) : (message as string));
    this._beat();
    return true;
  }

  /** Open a new socket at once, and count failures from zero. */
  reconnect(): void {
    this._release(CloseCode.NORMAL);
    this._store.merge({ attempts: 0 });
    this._open();
  }

  /** Close the socket; only `start` and `reconnect` open another. */
  close(code: number = CloseCode.NORMAL, reason = ''): void {
    this._release(code, reason);
    this._store.merge({ status: 'disconnected' });
  }

  private _open(): void {
    clearTimeout(this._reopening);
    this._store.merge({ status: 'connecting' });
    try {
      this._listen(new WebSocket(this._url, this._options.protocols));
    } catch (error) {
      report(error);
      this._store.merge({ status: 'disconnected' });
    }
  }

  private _listen(socket: WebSocket): void {
    this._socket = socket;
    // `onclose` follows with the code; outside browsers an error without a handler is thrown.
    socket.onerror = () => {};
    socket.onopen = () => {
      this._store.merge({ status: 'connected', attempts: 0 });
      this._beat();
    };
    socket.onmessage = (message: MessageEvent) => this._receive(message);
    socket.onclose = () => this._onLost();
  }

  private _receive(message: MessageEvent): void {
    this._store.merge({ lastMessage: message });
    guarded(() => this._options.onMessage?.(message));
  }

  private _onLost(): void {
    clearTimeout(this._heartbeat);
    this._socket = null;
    const { reconnectInterval = 3_000, maxReconnectAttempts = 5 } = this._options;
    const { attempts } = this._store.get();
    this._store.merge({ status: 'disconnected', attempts: attempts + 1 });
    if (attempts >= maxReconnectAttempts) return;
    const wait = backoff(attempts, Math.random(), reconnectInterval);
    this._reopening = setTimeout(() => this._open(), wait);
  }

  private _release(code: number, reason = ''): void {
    clearTimeout(this._reopening);
    clearTimeout(this._heartbeat);
    if (!this._socket) return;
    // A closing socket still reports events; they belong to none of our states.
    this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
    this._socket.close(code, reason);
    this._socket = null;
  }

  private _beat(): void {
    clearTimeout(this._heartbeat);
    const { heartbeatInterval = 30_000, heartbeatMessage = '{"type":"ping"}' } = this._options;
    if (heartbeatInterval > 0) {
      this._heartbeat = setTimeout(() => this.send(heartbeatMessage), heartbeatInterval);
    }
  }
}

/** Return whether a message is sent as JSON: text and bytes are not. */
function isPlain(message: unknown): boolean {
  return Array.isArray(message) || Object.getPrototypeOf(message) === Object.prototype;
}
