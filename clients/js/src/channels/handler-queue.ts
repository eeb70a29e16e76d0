/** Queue of calls to one pair of handlers: one call at a time, in order, whatever they throw. */

import { report } from '../browser/report.js';
import { isFinal } from '../http/request.js';
import { backoff } from '../machine/backoff.js';
import type { ChannelError, ChannelHandlers, Position, RealtimeEvent, Reset, Snapshot } from '../types.js';

/** Limit of calls that wait for a slow handler; beyond it, a reset replaces them. */
export const CAPACITY = 10_000;

type Item =
  | { readonly event: RealtimeEvent }
  | { readonly error: ChannelError }
  | { readonly reset: Reset }
  | { readonly snapshot: true };

export class HandlerQueue {
  private _items: Item[] = [];
  private _running = false;
  private _ended = false;
  /** Position of the last snapshot. */
  private _floor: Position | null = null;
  private _failures = 0;
  /** Time of the last call with a reset; after an event, resets are no longer in a row. */
  private _lastReset = -Infinity;
  private _retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _handlers: ChannelHandlers,
    private readonly _latest: () => Promise<Snapshot>,
    /** Called when a snapshot was handled. */
    private readonly _loaded: () => void = () => {},
    /** Shortest time between two resets in a row, in milliseconds: handlers may reload what they show. */
    private readonly _resetSpacing = 0,
  ) {}

  /** True while a snapshot is missing. */
  get isLoading(): boolean {
    return this._items.some((item) => 'snapshot' in item);
  }

  get staysConnected(): boolean {
    return this._handlers.keepInBackground ?? false;
  }

  event(event: RealtimeEvent): void {
    if (this._items[0] && 'reset' in this._items[0]) this.pause();
    if (this._items.length < CAPACITY) this._push({ event });
    else this._overflow(event);
  }

  reset(reset: Reset): void {
    this._dropWaitingReset();
    this._push({ reset });
    this.snapshot();
  }

  /** Queue the notice that the server denies the channel. */
  error(error: ChannelError): void {
    this._push({ error });
  }

  /** Queue a snapshot: later events wait for it. */
  snapshot(): void {
    if (this._handlers.onSnapshot) this._push({ snapshot: true });
  }

  /** Stop requests for snapshots until `resume`. */
  pause(): void {
    clearTimeout(this._retry);
    this._retry = undefined;
  }

  resume(): void {
    this._run();
  }

  end(): void {
    this._ended = true;
    this._items = [];
    this.pause();
  }

  private _push(item: Item): void {
    if (this._ended) return;
    this._items.push(item);
    this._run();
  }

  /** Call the handlers until one takes time. The current item stays first until its call ends. */
  private _run(): void {
    while (!this._running && !this._retry && this._items[0]) {
      const item = this._items[0];
      if ('reset' in item && this._isTooSoon()) return;
      // Set before the call: a handler may lead here again while it runs.
      this._running = true;
      const pending = this._call(item);
      if (pending) void pending.then((done) => this._finish(item, done)).then(() => this._run());
      else this._finish(item, true);
    }
  }

  private _finish(item: Item, done: boolean): void {
    this._running = false;
    // An overflow or `end` may have replaced the items during the call.
    if (done && this._items[0] === item) this._items.shift();
    if ('snapshot' in item) this._loaded();
  }

  /** Call a handler; return a promise of whether the item is done where the call takes time. */
  private _call(item: Item): Promise<boolean> | null {
    if ('snapshot' in item) return this._load();
    try {
      const result = this._handle(item);
      if (!isPromise(result)) return null;
      return result.then(() => true, (error: unknown) => (report(error), true));
    } catch (error) {
      report(error);
      return null;
    }
  }

  private _handle(item: Exclude<Item, { snapshot: true }>): unknown {
    const { onEvent, onReset, onError } = this._handlers;
    if ('error' in item) return onError?.(item.error);
    this._lastReset = 'reset' in item ? performance.now() : -Infinity;
    return 'reset' in item ? onReset?.(item.reset) : this._isNew(item) && onEvent?.(item.event);
  }

  /** Drop the last item, if it is a reset that waits: of several in a row the latest suffices. */
  private _dropWaitingReset(): void {
    const first = this._running ? 1 : 0;
    const last = this._items.length - ('snapshot' in (this._items.at(-1) ?? {}) ? 2 : 1);
    if (last >= first && 'reset' in this._items[last]!) this._items.length = last;
  }

  /** Return whether a reset follows another one too soon; then call it later. An event behind it does not wait. */
  private _isTooSoon(): boolean {
    const wait = this._lastReset + this._resetSpacing - performance.now();
    if (wait <= 0 || this._items.some((item) => 'event' in item)) return false;
    this._runLater(wait);
    return true;
  }

  private _runLater(milliseconds: number): void {
    this._retry = setTimeout(() => {
      this._retry = undefined;
      this._run();
    }, milliseconds);
  }

  /** Return whether the last snapshot lacks this event. */
  private _isNew({ event: { id, position } }: { event: RealtimeEvent }): boolean {
    const floor = this._floor;
    if (!floor || position?.epoch !== floor.epoch || position.offset > floor.offset) return true;
    // The log was rolled back after the snapshot, which has another event there.
    if (position.offset === floor.offset && id !== (floor.id ?? id)) this.snapshot();
    return false;
  }

  private async _load(): Promise<boolean> {
    let snapshot: Snapshot;
    try {
      snapshot = await this._latest();
    } catch (error) {
      return this._onLoadFailed(error);
    }
    this._failures = 0;
    if (this._ended) return true;
    this._floor = snapshot.position;
    try {
      await this._handlers.onSnapshot?.(snapshot);
    } catch (error) {
      report(error);
    }
    return true;
  }

  /** Retry until the snapshot is there; skip it where there is no log to read it from. */
  private _onLoadFailed(error: unknown): boolean {
    if (isFinal(error)) {
      report(error);
      return true;
    }
    if (this._ended) return true;
    const wait = backoff(this._failures, Math.random(), 1_000);
    this._failures += 1;
    this._runLater(wait);
    return false;
  }

  /** Replace the waiting items by a reset; the first one may be in a call. */
  private _overflow({ channel, position }: RealtimeEvent): void {
    this._items = this._items.slice(0, 1);
    this.reset({ channel, reason: 'truncated', position: position ?? null });
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as Promise<unknown> | null | undefined)?.then === 'function';
}
