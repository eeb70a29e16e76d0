/** One channel as a client sees it: duplicates dropped, gaps filled, order kept. Twin of reducer.py. */

import type { Phase, Position, RealtimeEvent, ResetReason } from './types.js';

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
  private readonly client: string | null;
  private held = new Map<string, RealtimeEvent>();
  private readonly ids = new Set<string>();
  private readonly applied = new Map<number, string>();
  private recovering = false;

  constructor({ client = null, position = null }: ReducerOptions = {}) {
    this.client = client;
    if (position) this.move(position);
  }

  /** Take one pushed event. */
  event(event: RealtimeEvent): Output[] {
    const place = event.position;
    if (!place) return this.handle(event);
    if (!this.position) {
      this.hold(place, event);
      return [];
    }
    if (place.epoch !== this.position.epoch || place.offset > this.position.offset + 1) {
      this.hold(place, event);
      return this.recover();
    }
    if (place.offset <= this.position.offset) {
      return this.contradicts(place, event.id) ? this.recover() : [];
    }
    return [...this.apply(place, event), ...this.drain()];
  }

  /** Take what the log returned after our position. */
  page({ events, top, more }: Page): Output[] {
    this.recovering = false;
    const outputs = events.flatMap((event) => this.event(event));
    return outputs.concat(more ? this.recover() : this.settle(top));
  }

  /** Begin at `top`: the answer to a subscription without a position. */
  start(top: Position): Output[] {
    this.recovering = false;
    this.move(top);
    return this.settle(top);
  }

  /** Begin anew at `top`, because there is no contiguous way there. */
  reset(reason: ResetReason, top: Position | null): Output[] {
    this.recovering = false;
    const restart: Output = { do: 'restart', reason, position: top };
    if (!top) {
      this.phase = reason === 'signal' ? 'current' : 'stale';
      return [restart];
    }
    this.move(top);
    return [restart, ...this.settle(top)];
  }

  /** Take a heartbeat's or a stub's word that the channel has reached `offset`. */
  announced(offset: number): Output[] {
    return !this.position || offset <= this.position.offset ? [] : this.recover();
  }

  /** Note that the connection is gone, and with it any answer that was awaited. */
  interrupted(): void {
    this.recovering = false;
    if (this.phase === 'current') this.phase = 'stale';
  }

  /**
   * Call the channel current, unless what is held or known shows another gap. What was held of
   * another epoch may be newer than the answer, so the log is asked once more.
   */
  private settle(top: Position): Output[] {
    const outputs = this.drain();
    const here = this.position as Position;
    const held = [...this.held];
    const strangers = held.some(([, event]) => event.position?.epoch !== here.epoch);
    this.held = new Map(held.filter(([, event]) => follows(event.position, here)));
    if (this.recovering) return outputs;
    const behind = here.epoch === top.epoch && here.offset < top.offset;
    if (this.held.size || strangers || behind) return outputs.concat(this.recover());
    this.phase = 'current';
    return outputs;
  }

  private move(position: Position): void {
    this.position = position;
    this.applied.clear();
    if (position.id !== undefined) this.applied.set(position.offset, position.id);
  }

  private apply(place: Position, event: RealtimeEvent): Output[] {
    this.position = { epoch: place.epoch, offset: place.offset, id: event.id };
    this.applied.set(place.offset, event.id);
    if (this.applied.size > REMEMBERED) forgetFirst(this.applied);
    return this.handle(event);
  }

  private handle(event: RealtimeEvent): Output[] {
    if (this.ids.has(event.id)) return [];
    this.ids.add(event.id);
    if (this.ids.size > REMEMBERED) forgetFirst(this.ids);
    const own = event.source !== undefined && event.source === this.client;
    return own ? [] : [{ do: 'deliver', event }];
  }

  private contradicts(place: Position, id: string): boolean {
    return (this.applied.get(place.offset) ?? id) !== id;
  }

  /** Keep the event until the gap is filled; where two contradict, the log shall decide. */
  private hold(place: Position, event: RealtimeEvent): void {
    const key = keyOf(place.epoch, place.offset);
    const known = this.held.get(key) ?? event;
    this.held.delete(key);
    if (known.id === event.id && this.held.size < CAPACITY) this.held.set(key, known);
  }

  /** Apply what was held and now continues the channel. */
  private drain(): Output[] {
    const outputs: Output[] = [];
    while (this.held.size && this.position) {
      const key = keyOf(this.position.epoch, this.position.offset + 1);
      const event = this.held.get(key);
      if (!event?.position) break;
      this.held.delete(key);
      outputs.push(...this.apply(event.position, event));
    }
    return outputs;
  }

  private recover(): Output[] {
    this.phase = 'stale';
    if (this.recovering) return [];
    this.recovering = true;
    return [{ do: 'recover', after: this.position }];
  }
}

function keyOf(epoch: string, offset: number): string {
  return `${epoch}:${offset}`;
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
