/** Reducer of one channel: drops duplicates, fills gaps and keeps the order. Twin of reducer.py. */

import type { Phase, Position, RealtimeEvent, ResetReason } from '../types.js';

/** Limit of events held while a gap is filled; a further event is dropped, and recovered later. */
export const CAPACITY = 256;

/** Limit of stored ids of applied events; they span epochs. */
export const STORED_IDS = 256;

export type Output =
  /** Call the handlers with this event. */
  | { readonly do: 'deliver'; readonly event: RealtimeEvent }
  /** Request the events after this position from the log. */
  | { readonly do: 'recover'; readonly after: Position | null }
  /** Call the handlers with a reset: events before `position` are missing. */
  | { readonly do: 'restart'; readonly reason: ResetReason; readonly position: Position | null };

/** Events that the log returned after our position; `top` is the channel's position then. */
export interface Page {
  readonly events: readonly RealtimeEvent[];
  readonly top: Position;
  readonly more: boolean;
}

export interface ReducerOptions {
  /** Id of this client: its own events advance the position and skip the handlers. */
  client?: string | null;
  /** Position to resume from. */
  position?: Position | null;
}

/** State of one channel; each method handles an input and returns the outputs. */
export class Reducer {
  position: Position | null = null;
  phase: Phase = 'syncing';
  private readonly _client: string | null;
  private _heldEvents = new Map<string, RealtimeEvent>();
  /** Ids of applied events, and whether each has a key: it changes a state then. */
  private readonly _ids = new Map<string, boolean>();
  private readonly _appliedIds = new Map<number, string>();
  private _recovering = false;
  /** True while the server sends another history than ours, until the log answers. */
  private _contradicted = false;
  private _begun = false;

  constructor({ client = null, position = null }: ReducerOptions = {}) {
    this._client = client;
    if (position) this._move(position);
  }

  /** True while the handlers got nothing, and the channel has no position. */
  get isNew(): boolean {
    return !this._begun && !this.position;
  }

  /** Handle a pushed event. */
  event(event: RealtimeEvent): Output[] {
    const position = event.position;
    if (!position) return this._handle(event);
    if (!this.position) {
      this._hold(event, keyOf(position));
      return [];
    }
    const distance = position.offset - this.position.offset;
    const sameEpoch = position.epoch === this.position.epoch;
    if (sameEpoch && distance <= 0) {
      if (!this._contradicts(position, event.id)) return [];
      this._contradicted = true;
      return this._recover();
    }
    // After a contradiction the next event continues the other history: the log decides.
    if (this._contradicted || !sameEpoch || distance > 1) {
      this._hold(event, keyOf(position));
      return this._recover();
    }
    return [...this._apply(position, event), ...this._drain()];
  }

  /** Handle a page of the log. */
  page({ events, top, more }: Page): Output[] {
    this._recovering = false;
    // The answer to an earlier request: one from our position ends there or later.
    if (this._contradicted && follows(this.position, top)) return this._recover();
    // The log continues our history. It may have answered before it lost the other one, whose events
    // are held: it is read again.
    const otherHistory = (this._contradicted && this._heldEvents.size > 0) || events.some((event) => this._contradictsHeld(event));
    if (otherHistory) this._heldEvents.clear();
    this._contradicted = false;
    const outputs: Output[] = [];
    for (const event of events) {
      outputs.push(...this.event(event));
      // The log was rolled back before it was read: the page continues another history.
      if (this._contradicted) return outputs;
    }
    this._contradicted = !more && this._contradicts(top, top.id);
    return outputs.concat(more || otherHistory || this._contradicted ? this._recover() : this._settle(top));
  }

  /** Start at `top`, the answer to a subscription without a position. */
  start(top: Position): Output[] {
    this._recovering = false;
    this._move(top);
    return this._settle(top);
  }

  /**
   * Restart at `top`, since the events before it cannot be recovered. `requested` is the position
   * that this answers to. If the channel has moved on from there, the answer is out of date, and the
   * log is read again. So is a reset from before our position, unless it answers that the log went
   * back. In a new channel nothing is missing: its handlers get no reset.
   */
  reset(reason: ResetReason, top: Position | null, requested: Position | null = null): Output[] {
    this._recovering = false;
    if (requested && !isSame(requested, this.position)) return this._recover();
    const wentBack = requested && (reason === 'ahead' || reason === 'regressed');
    if (top && follows(this.position, top) && !wentBack) return this._recover();
    const restarts: Output[] = this.isNew ? [] : [{ do: 'restart', reason, position: top }];
    this._begun = true;
    if (!top) {
      this.phase = reason === 'signal' ? 'current' : 'stale';
      return restarts;
    }
    this._move(top);
    // The state that is loaded after a reset lacks what the log stores after `top`, also if it had the same event before, and
    // lost it.
    this._ids.forEach((hasKey, id) => hasKey && this._ids.delete(id));
    return [...restarts, ...this._settle(top)];
  }

  /** Compare the offset of a heartbeat or stub with our position. */
  announced(offset: number): Output[] {
    return !this.position || offset <= this.position.offset ? [] : this._recover();
  }

  /**
   * Handle a lost connection: an expected answer will not arrive. It will not report either that the log lost the held
   * events: the log's answer decides.
   */
  interrupted(): void {
    this._recovering = false;
    this._heldEvents.clear();
    if (this.phase === 'current') this.phase = 'stale';
  }

  /**
   * Mark the channel current, unless held events or `top` show another gap. A held event of another
   * epoch may be newer than the answer, so the log is read once more.
   */
  private _settle(top: Position): Output[] {
    const outputs = this._drain();
    const here = this.position as Position;
    const events = [...this._heldEvents];
    const otherEpoch = events.some(([, event]) => event.position?.epoch !== here.epoch);
    this._heldEvents = new Map(events.filter(([, event]) => follows(event.position, here)));
    if (this._recovering) return outputs;
    const behind = here.epoch === top.epoch && here.offset < top.offset;
    if (this._heldEvents.size || otherEpoch || behind) return outputs.concat(this._recover());
    this.phase = 'current';
    return outputs;
  }

  private _move(position: Position): void {
    this.position = position;
    this._contradicted = false;
    this._appliedIds.clear();
    if (position.id !== undefined) this._appliedIds.set(position.offset, position.id);
  }

  private _apply(position: Position, event: RealtimeEvent): Output[] {
    this.position = { epoch: position.epoch, offset: position.offset, id: event.id };
    this._appliedIds.set(position.offset, event.id);
    if (this._appliedIds.size > STORED_IDS) deleteFirst(this._appliedIds);
    return this._handle(event);
  }

  private _handle(event: RealtimeEvent): Output[] {
    this._begun = true;
    if (this._ids.has(event.id)) return [];
    this._ids.set(event.id, !!event.key);
    if (this._ids.size > STORED_IDS) deleteFirst(this._ids);
    return event.source === this._client ? [] : [{ do: 'deliver', event }];
  }

  /** Return whether we applied another event at this position of our epoch. */
  private _contradicts(position: Position, id?: string): boolean {
    const known = this._appliedIds.get(position.offset) ?? id;
    return position.epoch === this.position?.epoch && known !== (id ?? known);
  }

  private _contradictsHeld({ id, position }: RealtimeEvent): boolean {
    return position != null && (this._heldEvents.get(keyOf(position))?.id ?? id) !== id;
  }

  /** Hold an event until the gap is filled; drop two that contradict each other, since the log decides. */
  private _hold(event: RealtimeEvent, key: string): void {
    if (this._contradictsHeld(event)) this._heldEvents.delete(key);
    else if (this._heldEvents.size < CAPACITY) this._heldEvents.set(key, event);
  }

  /** Apply held events that follow our position. */
  private _drain(): Output[] {
    const outputs: Output[] = [];
    while (this._heldEvents.size && this.position) {
      const key = keyOf(this.position, 1);
      const event = this._heldEvents.get(key);
      if (!event?.position) break;
      this._heldEvents.delete(key);
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

function keyOf({ epoch, offset }: Position, distance = 0): string {
  return `${epoch}:${offset + distance}`;
}

function isSame(one: Position, other: Position | null): boolean {
  // A rolled-back log uses an offset for another event.
  return one.epoch === other?.epoch && one.offset === other.offset && one.id === other.id;
}

function follows(position: Position | null | undefined, here: Position): boolean {
  return position?.epoch === here.epoch && position.offset > here.offset;
}

/** Delete the oldest key: JavaScript's maps and sets keep the order of insertion. */
function deleteFirst<Key>(keys: Map<Key, unknown> | Set<Key>): void {
  for (const key of keys.keys()) {
    keys.delete(key);
    return;
  }
}
