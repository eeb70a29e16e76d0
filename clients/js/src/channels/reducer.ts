/** One channel as a client sees it: duplicates dropped, gaps filled, order kept. Twin of reducer.py. */

import type { Phase, Position, RealtimeEvent, ResetReason } from '../types.js';

/** Events held while a gap is being filled; beyond that the newest is dropped, and recovered. */
export const CAPACITY = 256;

/** Ids of applied events that are remembered, across epochs too. */
export const REMEMBERED = 256;

export type Output =
  /** Call the handlers with this event. */
  | { readonly do: 'deliver'; readonly event: RealtimeEvent }
  /** Ask the log for what follows this position; on hosted transports after a moment. */
  | { readonly do: 'recover'; readonly after: Position | null }
  /** Tell the handlers to reload: the stream goes on from `position`, with a hole before it. */
  | { readonly do: 'restart'; readonly reason: ResetReason; readonly position: Position | null };

/** What the log returned after our position; `top` is the channel's position then. */
export interface Page {
  readonly events: readonly RealtimeEvent[];
  readonly top: Position;
  readonly more: boolean;
}

export interface ReducerOptions {
  /** This client's id: its own events advance the position and skip the handlers. */
  client?: string | null;
  /** Where an earlier run left off, if it did. */
  position?: Position | null;
}

/** The state of one channel; each method takes what arrived and returns what to do. */
export class Reducer {
  position: Position | null = null;
  phase: Phase = 'syncing';
  private readonly _client: string | null;
  private _held = new Map<string, RealtimeEvent>();
  private readonly _ids = new Set<string>();
  private readonly _applied = new Map<number, string>();
  private _recovering = false;

  constructor({ client = null, position = null }: ReducerOptions = {}) {
    this._client = client;
    if (position) this._move(position);
  }

  /** Take one pushed event. */
  event(event: RealtimeEvent): Output[] {
    const place = event.position;
    if (!place) return this._handle(event);
    if (!this.position) {
      this._hold(place, event);
      return [];
    }
    if (place.epoch !== this.position.epoch || place.offset > this.position.offset + 1) {
      this._hold(place, event);
      return this._recover();
    }
    if (place.offset <= this.position.offset) {
      return this._contradicts(place, event.id) ? this._recover() : [];
    }
    return [...this._apply(place, event), ...this._drain()];
  }

  /** Take what the log returned after our position. */
  page({ events, top, more }: Page): Output[] {
    this._recovering = false;
    const outputs = events.flatMap((event) => this.event(event));
    return outputs.concat(more ? this._recover() : this._settle(top));
  }

  /** Begin at `top`: the answer to a subscription without a position. */
  start(top: Position): Output[] {
    this._recovering = false;
    this._move(top);
    return this._settle(top);
  }

  /**
   * Begin anew at `top`, because there is no contiguous way there. An answer to what was `asked`
   * from a place that we have left says nothing of where we are now: then the log is asked again.
   */
  reset(reason: ResetReason, top: Position | null, asked: Position | null = null): Output[] {
    this._recovering = false;
    if (asked && !isSame(asked, this.position)) return this._recover();
    const restart: Output = { do: 'restart', reason, position: top };
    if (!top) {
      this.phase = reason === 'signal' ? 'current' : 'stale';
      return [restart];
    }
    this._move(top);
    return [restart, ...this._settle(top)];
  }

  /** Take a heartbeat's or a stub's word that the channel has reached `offset`. */
  announced(offset: number): Output[] {
    return !this.position || offset <= this.position.offset ? [] : this._recover();
  }

  /** Note that the connection is gone, and with it any answer that was awaited. */
  interrupted(): void {
    this._recovering = false;
    if (this.phase === 'current') this.phase = 'stale';
  }

  /**
   * Call the channel current, unless what is held or known shows another gap. What was held of
   * another epoch may be newer than the answer, so the log is asked once more.
   */
  private _settle(top: Position): Output[] {
    const outputs = this._drain();
    const here = this.position as Position;
    const held = [...this._held];
    const strangers = held.some(([, event]) => event.position?.epoch !== here.epoch);
    this._held = new Map(held.filter(([, event]) => follows(event.position, here)));
    if (this._recovering) return outputs;
    const behind = here.epoch === top.epoch && here.offset < top.offset;
    if (this._held.size || strangers || behind) return outputs.concat(this._recover());
    this.phase = 'current';
    return outputs;
  }

  private _move(position: Position): void {
    this.position = position;
    this._applied.clear();
    if (position.id !== undefined) this._applied.set(position.offset, position.id);
  }

  private _apply(place: Position, event: RealtimeEvent): Output[] {
    this.position = { epoch: place.epoch, offset: place.offset, id: event.id };
    this._applied.set(place.offset, event.id);
    if (this._applied.size > REMEMBERED) forgetFirst(this._applied);
    return this._handle(event);
  }

  private _handle(event: RealtimeEvent): Output[] {
    if (this._ids.has(event.id)) return [];
    this._ids.add(event.id);
    if (this._ids.size > REMEMBERED) forgetFirst(this._ids);
    const own = event.source !== undefined && event.source === this._client;
    return own ? [] : [{ do: 'deliver', event }];
  }

  private _contradicts(place: Position, id: string): boolean {
    return (this._applied.get(place.offset) ?? id) !== id;
  }

  /** Keep the event until the gap is filled; where two contradict, the log shall decide. */
  private _hold(place: Position, event: RealtimeEvent): void {
    const key = keyOf(place.epoch, place.offset);
    const known = this._held.get(key) ?? event;
    this._held.delete(key);
    if (known.id === event.id && this._held.size < CAPACITY) this._held.set(key, known);
  }

  /** Apply what was held and now continues the channel. */
  private _drain(): Output[] {
    const outputs: Output[] = [];
    while (this._held.size && this.position) {
      const key = keyOf(this.position.epoch, this.position.offset + 1);
      const event = this._held.get(key);
      if (!event?.position) break;
      this._held.delete(key);
      outputs.push(...this._apply(event.position, event));
    }
    return outputs;
  }

  private _recover(): Output[] {
    this.phase = 'stale';
    if (this._recovering) return [];
    this._recovering = true;
    return [{ do: 'recover', after: this.position }];
  }
}

function keyOf(epoch: string, offset: number): string {
  return `${epoch}:${offset}`;
}

function isSame(one: Position, other: Position | null): boolean {
  return one.epoch === other?.epoch && one.offset === other.offset;
}

function follows(place: Position | undefined, here: Position): boolean {
  return place !== undefined && place.epoch === here.epoch && place.offset > here.offset;
}

function forgetFirst<Key>(known: Map<Key, unknown> | Set<Key>): void {
  for (const key of known.keys()) {
    known.delete(key);
    return;
  }
}
