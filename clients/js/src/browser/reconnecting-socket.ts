/** WebSocket to any server that reconnects by itself: the core of `useWebSocket`. */

import { CloseCode } from '../close-codes.js';
import { checkIntervals } from '../machine/options.js';
import type { Intervals } from '../machine/options.js';
import { backoff } from '../machine/backoff.js';
import type { ReadableStore } from '../types.js';
import { watchPage } from './page-events.js';
import { guarded, report } from './report.js';
import { Store } from './store.js';

export interface SocketOptions {
  /** Upper bound of the first wait before a reconnect, in milliseconds; 3 000 by default. */
  reconnectInterval?: number;
  /** Failures in a row after which the socket stays closed until `reconnect()`, or until the page or the network is back; 5 by default. */
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

/** Uptime from which a connection counts as stable, in milliseconds. */
const STABLE_MS = 10_000;

/** State before `start()`. */
export const CLOSED: SocketState = { status: 'disconnected', lastMessage: null, attempts: 0 };

/** WebSocket with reconnects; `start()` opens it. */
export class ReconnectingSocket {
  private readonly _store = new Store(CLOSED);
  private _socket: WebSocket | null = null;
  private _reopening: ReturnType<typeof setTimeout> | undefined;
  private _heartbeat: ReturnType<typeof setTimeout> | undefined;
  private _stable: ReturnType<typeof setTimeout> | undefined;
  private _unwatch = (): void => {};
  private readonly _intervals: Intervals;

  constructor(
    private readonly _url: string | URL,
    private readonly _options: SocketOptions = {},
  ) {
    const [intervals, problems] = checkIntervals(_options);
    if (problems.length) console.warn(`realtime-bridge: ${problems.join('; ')}`);
    this._intervals = intervals;
  }

  get state(): ReadableStore<SocketState> {
    return this._store;
  }

  start(): void {
    this._watch();
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
    this._watch();
    this._release(CloseCode.NORMAL);
    this._store.merge({ attempts: 0 });
    this._open();
  }

  /** Close the socket; only `start` and `reconnect` open another. */
  close(code: number = CloseCode.NORMAL, reason = ''): void {
    this._unwatch();
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
      this._store.merge({ status: 'connected' });
      // A server that accepts and closes at once has not recovered.
      this._stable = setTimeout(() => this._store.merge({ attempts: 0 }), STABLE_MS);
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
    clearTimeout(this._stable);
    this._socket = null;
    const { reconnectInterval, maxReconnectAttempts } = this._intervals;
    const { attempts } = this._store.get();
    this._store.merge({ status: 'disconnected', attempts: attempts + 1 });
    if (attempts >= maxReconnectAttempts) return;
    const wait = backoff(attempts, Math.random(), reconnectInterval);
    this._reopening = setTimeout(() => this._open(), wait);
  }

  private _watch(): void {
    this._unwatch();
    this._unwatch = watchPage((event) => event !== 'hidden' && event !== 'offline' && this._revive());
  }

  /** Try again at once, and count from zero: the page or the network is back. */
  private _revive(): void {
    if (this._store.get().status === 'disconnected') this.reconnect();
  }

  private _release(code: number, reason = ''): void {
    clearTimeout(this._reopening);
    clearTimeout(this._stable);
    clearTimeout(this._heartbeat);
    if (!this._socket) return;
    // A closing socket still reports events; they belong to none of our states.
    this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
    this._socket.close(code, reason);
    this._socket = null;
  }

  private _beat(): void {
    clearTimeout(this._heartbeat);
    const { heartbeatMessage = '{"type":"ping"}' } = this._options;
    const { heartbeatInterval } = this._intervals;
    if (heartbeatInterval < Infinity) {
      this._heartbeat = setTimeout(() => this.send(heartbeatMessage), heartbeatInterval);
    }
  }
}

/** Return whether a message is sent as JSON: text and bytes are not. */
function isPlain(message: unknown): boolean {
  return Array.isArray(message) || Object.getPrototypeOf(message) === Object.prototype;
}
