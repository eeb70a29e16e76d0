/** Subscription to one channel: its reducer, and the queues of its handlers. */

import type { ChannelState, Position } from '../types.js';
import type { HandlerQueue } from './handler-queue.js';
import { Reducer } from './reducer.js';

export class Subscription {
  readonly reducer: Reducer;
  readonly queues = new Set<HandlerQueue>();
  /** Reason why the server denies the channel. */
  error: string | null = null;
  /** Time until which the next handlers resume it, once it ended. */
  until = 0;
  /** Position at which the last handlers left; calls after it wait for the next ones. */
  private _leftAt: Position | null = null;
  private _waiting: ((queue: HandlerQueue) => void)[] = [];

  constructor(
    readonly name: string,
    client: string,
    position: Position | null,
  ) {
    this.reducer = new Reducer({ client, position });
  }

  /** True while a handler waits for its snapshot. */
  get isLoading(): boolean {
    return [...this.queues].some((queue) => queue.isLoading);
  }

  /** State that applications see. */
  get state(): ChannelState {
    const { phase, position } = this.reducer;
    return { phase: phase === 'current' && this.isLoading ? 'syncing' : phase, position, error: this.error };
  }

  /** Return whether handlers that resume from `position` continue it; without a position, each does. */
  continues(position: Position | null): boolean {
    const leftAt = this._leftAt;
    return !!this.queues.size || !position || (position.epoch === leftAt?.epoch && position.offset === leftAt.offset);
  }

  /** Add the queue of handlers that resume from `position`; it gets the calls that waited. */
  add(queue: HandlerQueue, position: Position | null): void {
    this.queues.add(queue);
    if (this.reducer.position && !position) queue.snapshot();
    for (const call of this._waiting.splice(0)) call(queue);
  }

  /** Remove a queue; return whether it was the last one. */
  remove(queue: HandlerQueue): boolean {
    // Removed twice, the handlers must not end a later subscription to the same channel.
    const isLast = this.queues.delete(queue) && !this.queues.size;
    if (isLast) this._leftAt = this.reducer.position;
    return isLast;
  }

  /** Call the queue of each handler; without handlers, that of the next one. */
  call(call: (queue: HandlerQueue) => void): void {
    if (!this.queues.size) this._waiting.push(call);
    // A copy: handlers may be added or removed during a call.
    for (const queue of [...this.queues]) call(queue);
  }
}
