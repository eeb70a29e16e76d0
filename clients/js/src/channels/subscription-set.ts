/** Subscriptions of one client: a reducer and the handlers' queues for each channel. */

import { Store } from '../browser/store.js';
import type {
  ChannelHandlers,
  ChannelState,
  Position,
  ReadableStore,
  RealtimeEvent,
  ResetReason,
  Snapshot,
  Telemetry,
} from '../types.js';
import { HandlerQueue } from './handler-queue.js';
import { Reducer } from './reducer.js';
import type { Output, Page } from './reducer.js';

/** State of a channel without a subscription. */
export const NOT_SUBSCRIBED: ChannelState = { phase: 'syncing', position: null, error: null };

export interface SubscriptionSetOptions {
  client: string;
  latest: (channel: string) => Promise<Snapshot>;
  telemetry: (entry: Telemetry) => void;
  /** Called when a snapshot was handled. */
  loaded: () => void;
}

interface Subscription {
  readonly name: string;
  readonly reducer: Reducer;
  readonly queues: Set<HandlerQueue>;
  /** Reason why the server denies the channel. */
  error: string | null;
}

/** Subscriptions of one client; methods that handle input return whether events must be read from the log. */
export class SubscriptionSet {
  private readonly _subscriptions = new Map<string, Subscription>();
  private readonly _stores = new Map<string, Store<ChannelState>>();
  private readonly _loading = new Map<string, Promise<Snapshot>>();

  constructor(private readonly _options: SubscriptionSetOptions) {}

  /** Channels that the server has not denied. */
  get names(): string[] {
    return [...this._subscriptions.values()].filter(({ error }) => !error).map(({ name }) => name);
  }

  get positions(): Record<string, Position | null> {
    return Object.fromEntries(this.names.map((name) => [name, this.position(name)]));
  }

  /** True if every channel has all events, as far as the client can see. */
  get current(): boolean {
    return this.behind.length === 0;
  }

  /** Channels with missing events. */
  get behind(): string[] {
    return this.names.filter((name) => this._subscriptions.get(name)?.reducer.phase !== 'current');
  }

  /** True if no handler waits for its snapshot. */
  get loaded(): boolean {
    return this.names.every((name) => !isLoading(this._subscriptions.get(name)));
  }

  /** True if the client stays connected while the page is hidden. */
  get staysConnected(): boolean {
    return this._queues().some((queue) => queue.staysConnected);
  }

  has(name: string): boolean {
    return this._subscriptions.has(name);
  }

  position(name: string): Position | null {
    return this._subscriptions.get(name)?.reducer.position ?? null;
  }

  state(name: string): Store<ChannelState> & ReadableStore<ChannelState> {
    const store = this._stores.get(name) ?? new Store(NOT_SUBSCRIBED);
    this._stores.set(name, store);
    return store;
  }

  /** Add handlers; return a function that removes them and returns whether they were the last. */
  add(name: string, handlers: ChannelHandlers): () => boolean {
    const subscription = this._subscriptions.get(name) ?? this._open(name, handlers.position);
    const loaded = () => {
      this._publish(subscription);
      this._options.loaded();
    };
    const queue = new HandlerQueue(handlers, () => this._latest(name), loaded);
    subscription.queues.add(queue);
    if (subscription.reducer.position && !handlers.position) queue.snapshot();
    this._publish(subscription);
    return () => this._remove(subscription, queue);
  }

  /** Handle a pushed event. */
  event(event: RealtimeEvent): boolean {
    const subscription = this._allowed(event.channel);
    if (!subscription) return false;
    if (event.time !== undefined) {
      const delay = Date.now() - event.time;
      this._options.telemetry({ type: 'delivery', channel: event.channel, delay });
    }
    return this._performPushed(subscription, subscription.reducer.event(event));
  }

  /** Handle events that the log returned after our position. */
  page(name: string, page: Page): boolean {
    const subscription = this._allowed(name);
    if (!subscription) return false;
    const { reducer } = subscription;
    if (reducer.position) return this._performRecovered(subscription, reducer.page(page));
    const recover = this._perform(subscription, reducer.start(page.top));
    for (const queue of subscription.queues) queue.snapshot();
    this._publish(subscription);
    return recover;
  }

  /** Handle a reset; `requested` is the position that it answers to, if any. */
  reset(
    name: string,
    reason: ResetReason,
    position: Position | null,
    requested: Position | null,
  ): boolean {
    const subscription = this._allowed(name);
    if (!subscription) return false;
    return this._perform(subscription, subscription.reducer.reset(reason, position, requested));
  }

  /** Handle the offset of a heartbeat or stub. */
  announced(name: string, offset: number): boolean {
    const subscription = this._allowed(name);
    if (!subscription) return false;
    return this._performPushed(subscription, subscription.reducer.announced(offset));
  }

  /** Mark a channel denied until `retryDenied`. */
  deny(name: string, message: string): void {
    const subscription = this._allowed(name);
    if (!subscription) return;
    subscription.error = message;
    this._perform(subscription, subscription.reducer.reset('forbidden', null));
  }

  /** Clear the errors of denied channels, and return their names. */
  retryDenied(): string[] {
    const denied = [...this._subscriptions.values()].filter(({ error }) => error);
    for (const subscription of denied) {
      subscription.error = null;
      this._publish(subscription);
    }
    return denied.map(({ name }) => name);
  }

  /** Handle a lost connection. */
  interrupted(): void {
    for (const subscription of this._subscriptions.values()) {
      subscription.reducer.interrupted();
      this._publish(subscription);
    }
  }

  pause(): void {
    for (const queue of this._queues()) queue.pause();
  }

  resume(): void {
    for (const queue of this._queues()) queue.resume();
  }

  /** Return a subscription, unless the server denies it: after `forbidden` its handlers get nothing. */
  private _allowed(name: string): Subscription | null {
    const subscription = this._subscriptions.get(name);
    return subscription && subscription.error === null ? subscription : null;
  }

  private _open(name: string, position: Position | undefined): Subscription {
    const reducer = new Reducer({ client: this._options.client, position: position ?? null });
    const subscription: Subscription = { name, reducer, queues: new Set(), error: null };
    this._subscriptions.set(name, subscription);
    this._publish(subscription);
    return subscription;
  }

  private _remove(subscription: Subscription, queue: HandlerQueue): boolean {
    queue.end();
    subscription.queues.delete(queue);
    const { name, queues } = subscription;
    // Removed twice, the handlers must not end a later subscription to the same channel.
    if (queues.size || this._subscriptions.get(name) !== subscription) return false;
    this._subscriptions.delete(name);
    this.state(name).set(NOT_SUBSCRIBED);
    return true;
  }

  private _performRecovered(subscription: Subscription, outputs: Output[]): boolean {
    const events = outputs.filter((output) => output.do === 'deliver').length;
    if (events) this._options.telemetry({ type: 'recovery', channel: subscription.name, events });
    return this._perform(subscription, outputs);
  }

  /** Perform the outputs for a pushed input: where events are missing before it, there is a gap. */
  private _performPushed(subscription: Subscription, outputs: Output[]): boolean {
    const recover = this._perform(subscription, outputs);
    const { name, reducer } = subscription;
    if (recover) this._options.telemetry({ type: 'gap', channel: name, position: reducer.position });
    return recover;
  }

  private _perform(subscription: Subscription, outputs: Output[]): boolean {
    this._publish(subscription);
    let recover = false;
    for (const output of outputs) {
      if (output.do === 'recover') recover = true;
      else if (output.do === 'restart') this._restart(subscription, output.reason, output.position);
      // A copy: handlers may be added or removed during a call.
      else for (const queue of [...subscription.queues]) queue.event(output.event);
    }
    return recover;
  }

  private _restart(subscription: Subscription, reason: ResetReason, position: Position | null): void {
    const { name, queues } = subscription;
    this._options.telemetry({ type: 'reset', channel: name, reason });
    for (const queue of [...queues]) queue.reset({ channel: name, reason, position });
    this._publish(subscription);
  }

  private _publish(subscription: Subscription): void {
    const { name, reducer, error } = subscription;
    if (this._subscriptions.get(name) !== subscription) return;
    const phase = reducer.phase === 'current' && isLoading(subscription) ? 'syncing' : reducer.phase;
    this.state(name).merge({ phase, position: reducer.position, error });
  }

  /** Request a snapshot; handlers of one channel that ask at the same time share it. */
  private _latest(name: string): Promise<Snapshot> {
    const loading = this._loading.get(name) ?? this._options.latest(name);
    this._loading.set(name, loading);
    void loading.catch(() => null).finally(() => this._loading.delete(name));
    return loading;
  }

  private _queues(): HandlerQueue[] {
    return [...this._subscriptions.values()].flatMap(({ queues }) => [...queues]);
  }
}

function isLoading(subscription: Subscription | undefined): boolean {
  return [...(subscription?.queues ?? [])].some((queue) => queue.isLoading);
}
