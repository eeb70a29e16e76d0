/**
 * Transport by one WebSocket for all tabs of a user: the page that has a lock leads, and the others
 * follow. The file is loaded on demand.
 */

import { CloseCode } from '../../close-codes.js';
import type { ClientMessage, ServerMessage } from '../../messages.js';
import type { OpenTransport, Transport, TransportHandlers, TransportTools } from '../transport.js';
import { Follower } from './follower.js';
import { Leader } from './leader.js';
import type { ConnectMessage, Page, Role } from './role.js';
import { TabLock, holdLock } from './tab-lock.js';
import type { LockListener } from './tab-lock.js';
import { connectionName, parseTabMessage } from './tab-messages.js';
import type { TabMessage } from './tab-messages.js';

/** Time within which a second loss of the lock means that the tabs do not reach each other. */
const LOSS_WINDOW_MS = 10_000;

/** Transports of one client that lead: the one in use, and its successor. */
interface Leading {
  current: SharedTransport | null;
  successor: SharedTransport | null;
}

/** Return the opener of one client. */
export function share(open: OpenTransport): OpenTransport {
  const leading: Leading = { current: null, successor: null };
  return (tools, handlers) => {
    const name = hasTabs() ? connectionName(tools) : null;
    return name === null ? open(tools, handlers) : new SharedTransport(name, tools, handlers, open, leading);
  };
}

/** Return whether this is a page that reaches other tabs: browsers refuse it to some frames, by an error. */
function hasTabs(): boolean {
  try {
    new BroadcastChannel('').close();
    return typeof document !== 'undefined';
  } catch {
    return false;
  }
}

class SharedTransport implements Transport, Page, LockListener {
  /** Id of this page in its role. */
  id = crypto.randomUUID();
  connect: ConnectMessage | null = null;
  /** Nonce of a ping without an answer. */
  private _ping: string | null = null;
  private _role: Role | null = null;
  private _lock: TabLock;
  private _channel: BroadcastChannel | null = null;
  /** Frees the lock that shows that this page is there; null: it is not held yet. */
  private _free: (() => void) | null = null;
  private readonly _ended = new AbortController();
  private _isWelcome = false;
  /** Greatest number of a leader so far. */
  private _term = 0;
  private _lostAt = -Infinity;

  constructor(
    readonly name: string,
    readonly tools: TransportTools,
    private readonly _handlers: TransportHandlers,
    private readonly _open: OpenTransport,
    private readonly _leading: Leading,
  ) {
    this._lock = new TabLock(name);
    const { signal } = this._ended;
    // A page that the browser stops hands over, and leaves no queue of messages behind.
    document.addEventListener('freeze', () => this._suspend(), { signal });
    window.addEventListener('pagehide', () => this._suspend(), { signal });
    document.addEventListener('resume', () => this._resume(), { signal });
    window.addEventListener('pageshow', () => this._resume(), { signal });
    // Not at once: the caller has no reference to this transport before the constructor returns.
    queueMicrotask(() => this._resume());
  }

  send(message: ClientMessage): void {
    if (message.type === 'connect') this.connect = message;
    else if (message.type === 'ping') this._ping = message.nonce;
    // Renewed since this transport was opened, or while it is open.
    if ('token' in message && connectionName(this.tools) !== this.name) {
      this.fail(CloseCode.TOKEN, 'the token has another user, or other rights');
      return;
    }
    this._role?.send(message);
  }

  close(code: number): void {
    if (this._isEnded) return;
    this._ended.abort();
    this._role?.close(code);
    this._hand();
    this._role = null;
  }

  // The page of a role.

  post(message: TabMessage): void {
    this._channel?.postMessage(message);
  }

  open(): void {
    if (!this._isEnded) this._handlers.opened();
  }

  welcome(message: ServerMessage): void {
    if (!this._isWelcome) {
      this._isWelcome = true;
      this.deliver(message);
      return;
    }
    this.deliver({ ...message, restarted: true });
    if (this._ping !== null) this._role?.send({ type: 'ping', nonce: this._ping });
  }

  deliver(message: ServerMessage): void {
    if (this._isEnded) return;
    if (message.type === 'pong' && message.nonce === this._ping) this._ping = null;
    this._handlers.message(message);
  }

  fail(code: number, reason: string): void {
    if (this._isEnded) return;
    this.close(CloseCode.NORMAL);
    this._handlers.closed(code, reason);
  }

  replace(): void {
    this._lock.steal();
  }

  // The listener of the lock.

  granted(): void {
    if (this._leading.current === null) this._leading.current = this;
    this._lead()?.lead(this._nextTerm());
  }

  lost(): void {
    const isRepeated = performance.now() - this._lostAt < LOSS_WINDOW_MS;
    const wasLeader = this._role instanceof Leader;
    this._lostAt = performance.now();
    if (this._leading.current === this) {
      // Nothing can be inherited: the client opens another successor.
      this._leading.current = null;
      this._leading.successor?.fail(CloseCode.ABNORMAL, 'another tab leads');
    }
    this._suspend();
    // The browser gives no locks, or the tabs do not reach each other: each has its own connection.
    if (isRepeated || !wasLeader) this._lead();
    else this._resume();
  }

  private get _isEnded(): boolean {
    return this._ended.signal.aborted;
  }

  private _nextTerm(): number {
    return (this._term = Math.max(Date.now(), this._term + 1));
  }

  /** Open a connection to the server. */
  private _lead(): Leader | null {
    this._role?.close(CloseCode.NORMAL);
    this.id = crypto.randomUUID();
    try {
      const leader = new Leader(this, this._open);
      this._role = leader;
      return leader;
    } catch (error) {
      this._role = null;
      this.fail(CloseCode.ABNORMAL, String(error));
      return null;
    }
  }

  /** Take over the lock of the transport that this one succeeds. */
  private _inherit(lock: TabLock, term: number): void {
    this._lock = lock;
    lock.listener = this;
    this._term = term;
    this._leading.current = this;
    this._listen();
    if (this._role instanceof Leader) this._role.lead(this._nextTerm());
  }

  private _resume(): void {
    const { current } = this._leading;
    if (this._role || this._isEnded) return;
    if (current && current.name === this.name) {
      // This tab leads already: the machine wants another connection, which becomes public once it is used.
      this._leading.successor = this;
      this._lead();
      return;
    }
    this.id = crypto.randomUUID();
    const role = (this._role = new Follower(this));
    this._lock.listener = this;
    this._lock.queue();
    this._listen();
    holdLock(`${this.name}/${this.id}`).then(
      (free) => this._greet(role, free),
      () => this._role === role && this.lost(),
    );
  }

  /** Ask for the leader, once our lock shows that this page is there. */
  private _greet(role: Role, free: () => void): void {
    if (this._role !== role) {
      free();
      return;
    }
    this._free = free;
    this.post({ type: 'hello', follower: this.id });
  }

  private _listen(): void {
    this._channel = new BroadcastChannel(this.name);
    this._channel.onmessage = ({ data }: MessageEvent) => this._receive(data);
  }

  private _receive(data: unknown): void {
    const message = parseTabMessage(data);
    if (!message || !this._role) return;
    // A leader would take a page without a lock for one that is gone.
    if (this._role instanceof Follower && !this._free) return;
    if (message.type === 'leader' && message.leader !== this.id) {
      // A page that slept may answer late, as if it still led.
      if (message.term < this._term) return;
      this._term = message.term;
      if (this._role instanceof Leader) {
        this.lost();
        return;
      }
    }
    this._role.receive(message);
  }

  private _suspend(): void {
    this._role?.close(CloseCode.NORMAL);
    this._role = null;
    this._hand();
  }

  /** Hand the lead over: to our successor, else to another tab. */
  private _hand(): void {
    const { current, successor } = this._leading;
    this._channel?.close();
    this._channel = null;
    this._free?.();
    this._free = null;
    if (successor === this) this._leading.successor = null;
    if (current !== this) {
      this._lock.release();
      return;
    }
    this._leading.current = this._leading.successor = null;
    if (successor && successor !== this) successor._inherit(this._lock, this._term);
    else this._lock.release();
  }
}
