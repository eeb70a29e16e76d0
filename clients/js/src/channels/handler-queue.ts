/** What one pair of handlers is owed: one call at a time, in order, whatever they throw. */

import { delay } from '../machine/backoff.js';
import { statusOf } from '../http/request.js';
import { report } from '../browser/report.js';
import type { ChannelHandlers, Position, RealtimeEvent, Reset, Snapshot } from '../types.js';

/** What may wait for a slow handler; beyond that it is told that there is a hole. */
export const WAITING = 10_000;

type Item =
  | { readonly event: RealtimeEvent }
  | { readonly reset: Reset }
  | { readonly snapshot: true };

const REFUSED = [400, 401, 403, 404];

export class Delivery {
  private _items: Item[] = [];
  private _running = false;
  private _ended = false;
  private _floor: Position | null = null;
  private _failures = 0;
  private _retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _handlers: ChannelHandlers,
    private readonly _latest: () => Promise<Snapshot>,
  ) {}

  get keep(): boolean {
    return this._handlers.keep ?? false;
  }

  event(event: RealtimeEvent): void {
    if (this._items.length < WAITING) this._push({ event });
    else this._overflow(event);
  }

  reset(reset: Reset): void {
    this._push({ reset });
    if (reset.reason !== 'forbidden') this.snapshot();
  }

  /** Hand over the latest events before anything that comes after now. */
  snapshot(): void {
    if (this._handlers.onSnapshot) this._push({ snapshot: true });
  }

  /** Nothing is asked of the server until `resume`. */
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

  /** The first item stays until it is dealt with; while that takes time, the rest waits. */
  private _run(): void {
    while (!this._running && !this._retry && this._items[0]) {
      const item = this._items[0];
      // A handler may lead here again, while it is called.
      this._running = true;
      const pending = this._call(item);
      if (pending) void pending.then((dealt) => this._ran(item, dealt)).then(() => this._run());
      else this._ran(item, true);
    }
  }

  /** While it was dealt with, the items may have been replaced. */
  private _ran(item: Item, dealt: boolean): void {
    this._running = false;
    if (dealt && this._items[0] === item) this._items.shift();
  }

  /** Returns what to wait for: whether the item is dealt with. */
  private _call(item: Item): Promise<boolean> | null {
    if ('snapshot' in item) return this._load();
    try {
      const { onEvent, onReset } = this._handlers;
      const called = 'reset' in item ? onReset?.(item.reset) : this._fresh(item) && onEvent?.(item.event);
      if (!isPromise(called)) return null;
      return called.then(() => true, (error: unknown) => (report(error), true));
    } catch (error) {
      report(error);
      return null;
    }
  }

  /** An event that the snapshot has already is not handed out again. */
  private _fresh({ event: { position } }: { event: RealtimeEvent }): boolean {
    const floor = this._floor;
    return !floor || !position || position.epoch !== floor.epoch || position.offset > floor.offset;
  }

  private async _load(): Promise<boolean> {
    let snapshot: Snapshot;
    try {
      snapshot = await this._latest();
    } catch (error) {
      return this._unloaded(error);
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

  /** Try again until it is there, unless it is never given. */
  private _unloaded(error: unknown): boolean {
    if (REFUSED.includes(statusOf(error) ?? 0)) {
      report(error);
      return true;
    }
    if (this._ended) return true;
    const wait = delay(this._failures, Math.random(), { base: 1 }) * 1_000;
    this._failures += 1;
    this._retry = setTimeout(() => {
      this._retry = undefined;
      this._run();
    }, wait);
    return false;
  }

  private _overflow({ channel, position }: RealtimeEvent): void {
    this._items = this._items.slice(0, 1);
    this.reset({ channel, reason: 'truncated', position: position ?? null });
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as Promise<unknown> | null | undefined)?.then === 'function';
}
