/** Subscriptions of one client: received messages go in, calls of handlers and states of channels come out. */

import { Store } from '../browser/store.js';
import type { Timing } from '../machine/timing.js';
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
import type { Output, Page } from './reducer.js';
import { Subscription } from './subscription.js';

/** State of a channel without a subscription. */
export const NOT_SUBSCRIBED: ChannelState = { phase: 'syncing', position: null, error: null };

export interface SubscriptionSetOptions {
  client: string;
  latest: (channel: string, key?: string) => Promise<Snapshot>;
  telemetry: (entry: Telemetry) => void;
  /** Called when a snapshot was handled. */
  loaded: () => void;
  /** Called for a channel whose events are to be requested. */
  requested: (channel: string) => void;
  /** Called with channels that have no handlers any more. */
  ended: (channels: string[]) => void;
}

/** Subscriptions of one client; methods that handle input return whether events must be read from the log. */
export class SubscriptionSet {
  private readonly _subscriptions = new Map<string, Subscription>();
  /** Subscriptions that ended a short while ago: the next subscriber resumes there. */
  private readonly _former = new Map<string, Subscription>();
  private readonly _stores = new Map<string, Store<ChannelState>>();
  private readonly _loading = new Map<string, Promise<Snapshot>>();
  private _ending: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _options: SubscriptionSetOptions,
    private readonly _timing: Timing,
  ) {}

  /** Channels that the server has not denied. */
  get names(): string[] {
    return [...this._subscriptions.values()].filter(({ error }) => !error).map(({ name }) => name);
  }

  /** Return the positions of those channels that the server has not denied. */
  positions(names: readonly string[]): Record<string, Position | null> {
    const allowed = names.filter((name) => this.isAllowed(name));
    return Object.fromEntries(allowed.map((name) => [name, this.position(name)]));
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
    return this.names.every((name) => !this._subscriptions.get(name)?.isLoading);
  }

  /** True if the client stays connected while the page is hidden. */
  get staysConnected(): boolean {
    return this._queues().some((queue) => queue.staysConnected);
  }

  /** Return whether a channel has a subscription that the server has not denied. */
  isAllowed(name: string): boolean {
    return this._allowed(name) !== null;
  }

  position(name: string): Position | null {
    return this._subscriptions.get(name)?.reducer.position ?? null;
  }

  /** Return the state of a channel; it exists while it is watched, or the channel has a subscription. */
  state(name: string): ReadableStore<ChannelState> {
    return {
      get: () => this._stores.get(name)?.get() ?? NOT_SUBSCRIBED,
      subscribe: (listener) => {
        const end = this._store(name).subscribe(listener);
        return () => {
          end();
          this._discardStore(name);
        };
      },
    };
  }

  /**
   * Add handlers; return a function that removes them. A channel without handlers ends a moment later,
   * so that those who return at once miss nothing, and a whole list ends by one message.
   */
  add(name: string, handlers: ChannelHandlers): () => void {
    const known = this._subscriptions.get(name);
    const position = handlers.position ?? null;
    const subscription = known?.continues(position) ? known : this._open(name, position);
    const loaded = () => {
      this._publish(subscription);
      this._options.loaded();
    };
    const queue = new HandlerQueue(handlers, () => this._latest(subscription, handlers.snapshotKey), loaded, this._timing.resetSpacing);
    subscription.add(queue, position);
    // Another subscriber shows that the channel may be allowed by now.
    if (subscription !== known || subscription.error !== null) this._request(subscription);
    else this._publish(subscription);
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
    this._load(subscription);
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
    const { isNew } = subscription.reducer;
    const recover = this._perform(subscription, subscription.reducer.reset(reason, position, requested));
    if (isNew && position) this._load(subscription);
    return recover;
  }

  /** Handle the offset of a heartbeat or stub. */
  announced(name: string, offset: number): boolean {
    const subscription = this._allowed(name);
    if (!subscription) return false;
    return this._performPushed(subscription, subscription.reducer.announced(offset));
  }

  /** Mark a channel denied until `retryDenied`, or until another subscriber. */
  deny(name: string, message: string): void {
    const subscription = this._allowed(name);
    if (!subscription) return;
    subscription.error = message;
    subscription.reducer.interrupted();
    this._options.telemetry({ type: 'denied', channel: name, reason: message });
    subscription.call((queue) => queue.error({ channel: name, message }));
    this._publish(subscription);
  }

  /** Request denied channels again. */
  retryDenied(): void {
    for (const subscription of this._subscriptions.values()) {
      if (subscription.error !== null) this._request(subscription);
    }
  }

  /** Handle a lost connection. */
  interrupted(): void {
    for (const subscription of this._subscriptions.values()) {
      subscription.reducer.interrupted();
      this._publish(subscription);
    }
  }

  pause(): void {
    if (this._ending !== undefined) this._end();
    for (const queue of this._queues()) queue.pause();
  }

  resume(): void {
    for (const queue of this._queues()) queue.resume();
  }

  /** Return a subscription, unless the server denies it: after `forbidden` its handlers get nothing. */
  private _allowed(name: string): Subscription | null {
    const subscription = this._subscriptions.get(name);
    return subscription?.error === null ? subscription : null;
  }

  private _open(name: string, position: Position | null): Subscription {
    const former = this._former.get(name);
    this._former.delete(name);
    const resumes = former && performance.now() < former.until && former.continues(position);
    const subscription = resumes ? former : new Subscription(name, this._options.client, position);
    this._subscriptions.set(name, subscription);
    return subscription;
  }

  private _request(subscription: Subscription): void {
    subscription.error = null;
    this._publish(subscription);
    this._options.requested(subscription.name);
  }

  private _remove(subscription: Subscription, queue: HandlerQueue): void {
    queue.end();
    if (subscription.remove(queue)) this._ending ??= setTimeout(() => this._end(), this._timing.leaveDelay);
  }

  /** End the subscriptions without handlers. */
  private _end(): void {
    clearTimeout(this._ending);
    this._ending = undefined;
    const now = performance.now();
    for (const [name, { until }] of this._former) if (until <= now) this._former.delete(name);
    const left = [...this._subscriptions.values()].filter(({ queues }) => !queues.size);
    for (const subscription of left) {
      const { name, reducer } = subscription;
      this._subscriptions.delete(name);
      if (subscription.error === null) {
        reducer.interrupted();
        subscription.until = now + this._timing.rejoinPeriod;
        this._former.set(name, subscription);
      }
      this._stores.get(name)?.set(NOT_SUBSCRIBED);
      this._discardStore(name);
    }
    if (left.length) this._options.ended(left.map(({ name }) => name));
  }

  private _store(name: string): Store<ChannelState> {
    const store = this._stores.get(name) ?? new Store(NOT_SUBSCRIBED);
    this._stores.set(name, store);
    return store;
  }

  private _discardStore(name: string): void {
    if (!this._subscriptions.has(name) && !this._stores.get(name)?.isWatched) this._stores.delete(name);
  }

  /** Load a snapshot for each handler that wants one. */
  private _load(subscription: Subscription): void {
    for (const queue of subscription.queues) queue.snapshot();
    this._publish(subscription);
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
      else subscription.call((queue) => queue.event(output.event));
    }
    return recover;
  }

  private _restart(subscription: Subscription, reason: ResetReason, position: Position | null): void {
    const { name } = subscription;
    this._options.telemetry({ type: 'reset', channel: name, reason });
    subscription.call((queue) => queue.reset({ channel: name, reason, position }));
    this._publish(subscription);
  }

  private _publish(subscription: Subscription): void {
    const { name, state } = subscription;
    if (this._subscriptions.get(name) === subscription) this._store(name).merge(state);
  }

  /**
   * Request a snapshot; handlers that ask for the same one share it, unless events came in between:
   * those that joined later would miss them.
   */
  private _latest({ name, reducer }: Subscription, key: string | undefined): Promise<Snapshot> {
    const request = JSON.stringify([name, key, reducer.position]);
    const loading = this._loading.get(request) ?? this._options.latest(name, key);
    this._loading.set(request, loading);
    void loading.catch(() => null).finally(() => this._loading.delete(request));
    return loading;
  }

  private _queues(): HandlerQueue[] {
    return [...this._subscriptions.values()].flatMap(({ queues }) => [...queues]);
  }
}
