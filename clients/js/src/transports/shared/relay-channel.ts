/** Channel of a shared connection: the server has one subscription for all tabs. */

import type { ClientMessage, Fields, ServerMessage } from '../../messages.js';
import type { Position } from '../../types.js';
import { isText } from './tab-messages.js';

/** Message to the server, to the leader's own session, or to followers (null: to all). */
export type Output =
  | { readonly to: 'server'; readonly message: ClientMessage }
  | { readonly to: 'session'; readonly message: ServerMessage }
  | { readonly to: readonly string[] | null; readonly message: ServerMessage };

/**
 * State of one channel; each method handles an input and returns the outputs.
 *
 * The session of the leader's page subscribes from its own position, as on a connection of its own. For
 * followers alone the relay subscribes. A follower joins the flow of events at the relay's position, or is
 * informed by `joined` that the flow has begun, and reads the events before it from the log.
 */
export class RelayChannel {
  private readonly _followers = new Set<string>();
  /** Positions of followers without an answer yet. */
  private readonly _waiting = new Map<string, Position | null>();
  private _isLocal = false;
  /** Sender of the request that the server has not answered; it takes one at a time. */
  private _asked: 'session' | 'relay' | null = null;
  /** Request of the session, which waits for the answer to the relay's. */
  private _next: ClientMessage | null = null;
  private _position: Position | null = null;
  private _isOpen = false;
  /** True while the server holds events back, since the log has more before them. */
  private _isBehind = false;

  constructor(private readonly _name: string) {}

  /** True without any tab, and without an answer under way, which a later request would take for its own. */
  get isUnused(): boolean {
    return !this._isLocal && !this._followers.size && !this._asked;
  }

  /** Handle a request of the leader's session. */
  subscribe(message: ClientMessage): Output[] {
    this._isLocal = true;
    if (this._asked) {
      this._next = message;
      return [];
    }
    this._asked = 'session';
    return [{ to: 'server', message }];
  }

  /** Handle the end of the session's subscription: followers may go on. */
  unsubscribe(): Output[] {
    this._isLocal = false;
    this._next = null;
    if (this._asked) this._asked = 'relay';
    return this._isBehind ? this._read() : [];
  }

  join(follower: string, position: Position | null): Output[] {
    this._followers.add(follower);
    this._waiting.set(follower, position);
    if (this._isOpen) return this._answer();
    return this._isLocal ? [] : this._read();
  }

  leave(follower: string): void {
    this._followers.delete(follower);
    this._waiting.delete(follower);
  }

  /** Handle an event, or a stub. */
  event(message: ServerMessage): Output[] {
    this._position = positionOf(message) ?? this._position;
    return [...this._toSession(message), ...this._toFollowers(message)];
  }

  /** Handle the answer to a request. */
  subscribed(message: ServerMessage): Output[] {
    const isOwn = this._asked === 'session';
    this._asked = null;
    this._isOpen = true;
    this._isBehind = !!message.more;
    // The server does not push these events again, whichever request it answered.
    const events = Array.isArray(message.events) ? (message.events as Fields[]) : [];
    const outputs = events.flatMap((event) => this._toFollowers({ ...event, type: 'event' }));
    // The session may have asked from beyond the flow, where a poll had brought it.
    if (!this._flowsTo(message, events[0])) outputs.push(...this._askLog());
    this._position = positionOf(message);
    return [
      ...outputs,
      ...(isOwn ? this._toSession(message) : []),
      ...this._continue(),
      ...(this._isBehind && !this._isLocal && this._followers.size ? this._read() : []),
      ...this._answer(),
    ];
  }

  reset(message: ServerMessage): Output[] {
    if (message.reason === 'forbidden') return this._end(message, true);
    this._position = positionOf(message);
    return [...(this._asked === 'relay' ? [] : this._toSession(message)), ...this._askLog()];
  }

  /** Handle a refusal: the server has no subscription any more. Those who may try again do so. */
  refused(message: ServerMessage): Output[] {
    const next = this._next;
    const outputs = this._end(message, this._asked !== 'relay');
    return next ? [...outputs, ...this.subscribe(next)] : outputs;
  }

  /** Compare the offset of a heartbeat; the session compares it for itself. */
  announced(offset: number): Output[] {
    const isMissing = this._position !== null && offset > this._position.offset;
    return isMissing && this._isOpen && !this._isLocal ? this._read() : [];
  }

  private _end(message: ServerMessage, informsSession: boolean): Output[] {
    const outputs = [...(informsSession ? this._toSession(message) : []), ...this._toFollowers(message)];
    this._isLocal = this._isOpen = this._isBehind = false;
    this._asked = this._next = null;
    this._followers.clear();
    this._waiting.clear();
    return outputs;
  }

  /** Request the events after the relay's position. */
  private _read(): Output[] {
    if (this._asked) return [];
    this._asked = 'relay';
    const position = this._position && { position: this._position };
    return [{ to: 'server', message: { type: 'subscribe', channel: this._name, ...position } }];
  }

  private _continue(): Output[] {
    const next = this._next;
    this._next = null;
    return next ? this.subscribe(next) : [];
  }

  /** Answer followers, unless the flow waits for the server. */
  private _answer(): Output[] {
    if (this._asked || this._isBehind) return [];
    const channel = this._name;
    const here = this._position;
    const outputs = [...this._waiting].map(([follower, position]): Output => {
      const continues = here && (!position || isSame(position, here));
      const answer = { ...here, type: 'subscribed', channel, events: [], more: false };
      return { to: [follower], message: continues ? answer : { type: 'joined', channel } };
    });
    this._waiting.clear();
    return outputs;
  }

  /** Return whether an answer continues what followers have: from its first event, or without any. */
  private _flowsTo(top: ServerMessage, first: Fields | undefined): boolean {
    const here = this._position;
    const next = positionOf(first ?? top);
    if (!here || !next) return true;
    return first ? next.epoch === here.epoch && next.offset <= here.offset + 1 : isSame(next, here);
  }

  /** Let followers ask the log: another page's position decides nothing. */
  private _askLog(): Output[] {
    return this._toFollowers({ type: 'joined', channel: this._name });
  }

  private _toSession(message: ServerMessage): Output[] {
    return this._isLocal ? [{ to: 'session', message }] : [];
  }

  private _toFollowers(message: ServerMessage): Output[] {
    return this._followers.size ? [{ to: [...this._followers], message }] : [];
  }
}

/** Return the position of a message; null for an invalid one, after which the session closes the connection. */
function positionOf({ epoch, offset, id }: Fields): Position | null {
  if (!isText(epoch) || typeof offset !== 'number') return null;
  return isText(id) ? { epoch, offset, id } : { epoch, offset };
}

function isSame(one: Position, other: Position): boolean {
  return one.epoch === other.epoch && one.offset === other.offset && one.id === other.id;
}
