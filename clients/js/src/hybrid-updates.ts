/** Data of one user, updated by push or by polling: the core of `useHybridUpdates`. */

import { isHidden, watchPage } from './browser/page-events.js';
import type { PageEvent } from './browser/page-events.js';
import { guarded } from './browser/report.js';
import { Store } from './browser/store.js';
import { spread } from './machine/backoff.js';
import { checkIntervals } from './machine/options.js';
import type { Intervals } from './machine/options.js';
import { HybridClient } from './hybrid-client.js';
import { Fetcher } from './http/fetcher.js';
import type { FetchData } from './http/fetcher.js';
import type { ChannelEvent, ChannelState, Client, ClientOptions, ReadableStore, RealtimeEvent, Snapshot } from './types.js';
import { currentUserChannel } from './user-channel.js';

export interface HybridUpdatesOptions<Data> extends ClientOptions {
  /** Function that returns the data after an event; without it each burst of events leads to one `fetchData`. */
  reduce?: (data: Data | null, event: ChannelEvent) => Data;
  /** Called once for each event, in order. */
  onEvent?: (event: ChannelEvent) => void | Promise<void>;
  /** Without `fetchData`: function that returns the data from the latest events, at the start and after a reset. */
  onSnapshot?: (snapshot: Snapshot) => Data | void;
  /** Shared client, which the application starts; by default a client of its own, with these options. */
  client?: Client;
}

export interface UpdatesState<Data> {
  readonly data: Data | null;
  /** True until the first data or failure. */
  readonly loading: boolean;
  /** Error of the last `fetchData`; null: it succeeded. */
  readonly error: unknown;
  readonly updateSource: 'websocket' | 'polling';
  readonly websocketStatus: 'connected' | 'connecting' | 'disconnected';
}

/** State before the first data. */
export const LOADING: UpdatesState<never> = {
  data: null,
  loading: true,
  error: null,
  updateSource: 'polling',
  websocketStatus: 'disconnected',
};

/** Time during which a burst of events is collected before `fetchData`, in milliseconds. */
const BURST_MS = 250;

/** Longest wait of the first `fetchData` for the channel, so that one call suffices, in milliseconds. */
const FIRST_FETCH_MS = 1_000;

/** Shortest interval of polls of a hidden page, in milliseconds. */
const HIDDEN_POLLING_MS = 60_000;

/** Events after which a page may show old data. */
const WAKING: readonly PageEvent[] = ['visible', 'online', 'resumed'];

type Timer = ReturnType<typeof setTimeout>;

/** Data of one user; `start()` begins the updates, also after a `stop()`. */
export class HybridUpdates<Data> {
  /** Null where realtime is switched off: `fetchData` is polled, and the bridge is not contacted. */
  readonly client: Client | null;
  private readonly _store = new Store<UpdatesState<Data>>(LOADING);
  private readonly _options: HybridUpdatesOptions<Data>;
  private readonly _intervals: Intervals;
  /** Null while the user is not known. */
  private readonly _channel: string | null;
  private readonly _fetcher: Fetcher<Data> | null;
  private _started = false;
  private _positioned = false;
  private _releases: (() => void)[] = [];
  private _firstFetch: Timer | undefined;
  private _burst: Timer | undefined;
  private _poll: Timer | undefined;

  constructor(
    fetchData: FetchData<Data> | null | undefined,
    userId: string | number | null | undefined,
    options: HybridUpdatesOptions<Data> = {},
  ) {
    this._options = options;
    const [intervals] = checkIntervals(options);
    this._intervals = intervals;
    const { websocketEnabled = true, enableFeatureFlag = true, client } = options;
    this.client = websocketEnabled && enableFeatureFlag ? (client ?? new HybridClient(options)) : null;
    this._channel = currentUserChannel(userId);
    const listener = {
      fetched: (data: Data) => this._show({ data, error: null }),
      failed: (error: unknown) => this._show({ error }),
    };
    this._fetcher = fetchData ? new Fetcher(fetchData, listener, intervals.reconnectInterval) : null;
  }

  get state(): ReadableStore<UpdatesState<Data>> {
    return this._store;
  }

  start(): void {
    if (this._started || this._channel === null) return;
    this._started = true;
    this._positioned = false;
    this._releases = [watchPage((event) => WAKING.includes(event) && this._wake())];
    if (this.client) this._subscribe(this.client, this._channel);
    else void this._fetch();
  }

  stop(): void {
    if (!this._started) return;
    this._started = false;
    for (const timer of [this._firstFetch, this._burst, this._poll]) clearTimeout(timer);
    this._burst = undefined;
    for (const release of this._releases) release();
    this._fetcher?.stop();
    if (!this._options.client) this.client?.stop();
  }

  /** Fetch now; resolves when the data is there, or the call failed. */
  async refresh(): Promise<void> {
    if (this._fetcher) await this._fetch();
    else this.client?.refresh();
  }

  private _subscribe(client: Client, channel: string): void {
    if (!this._options.client) client.start();
    const { onSnapshot } = this._options;
    const snapshot = !this._fetcher && onSnapshot;
    this._releases.push(
      client.state.subscribe(() => this._onClientState(client)),
      client.subscribe(channel, {
        onEvent: (event) => this._onEvent(event),
        onReset: () => this._fetcher?.begun ? this._fetch() : undefined,
        ...(snapshot && { onSnapshot: (latest: Snapshot) => {
          const data = snapshot(latest);
          this._show(data === undefined ? {} : { data });
        } }),
      }),
      client.channel(channel).subscribe(() => this._onChannelState(client.channel(channel).get())),
    );
    this._firstFetch = setTimeout(() => this._begin(), FIRST_FETCH_MS);
    this._onClientState(client);
    this._onChannelState(client.channel(channel).get());
  }

  /** Publish the client's state; stop waiting for a channel that will not be ready soon. */
  private _onClientState(client: Client): void {
    const { updateSource, websocketStatus, mode, attempts } = client.state.get();
    const changed = updateSource !== this._store.get().updateSource;
    this._store.merge({ updateSource, websocketStatus });
    if (changed) this._plan();
    if (attempts > 0 || mode === 'FALLBACK' || mode === 'DENIED') this._begin();
  }

  /** Fetch once the channel has a position: data read before may lack the events in between. */
  private _onChannelState({ phase, position, error }: ChannelState): void {
    if (error) this._begin();
    // Without a log there is no position.
    if (this._positioned || (!position && phase !== 'current')) return;
    this._positioned = true;
    if (this._fetcher?.begun) void this._fetch();
    else this._begin();
  }

  private _begin(): void {
    clearTimeout(this._firstFetch);
    if (this._fetcher && !this._fetcher.begun) void this._fetch();
  }

  private _onEvent(event: RealtimeEvent): void | Promise<void> {
    // The event may be newer than the data in flight, so `reduce` waits for it.
    const pending = this._options.reduce && this._fetcher?.pending;
    if (pending) return pending.then(() => this._apply(event));
    return this._apply(event);
  }

  private _apply(event: RealtimeEvent): void | Promise<void> {
    if (this._options.reduce) this._reduce(event);
    else if (this._fetcher) this._burst ??= setTimeout(() => {
      this._burst = undefined;
      void this._fetch();
    }, BURST_MS);
    return this._options.onEvent?.(event);
  }

  private _reduce(event: RealtimeEvent): void {
    // After a failure the next successful fetch contains the event.
    if (this._fetcher && !this._fetcher.fresh) return;
    const data = guarded(() => this._options.reduce?.(this._store.get().data, event));
    if (data !== undefined) this._store.merge({ data });
  }

  private _show(fields: Partial<UpdatesState<Data>>): void {
    this._store.merge({ ...fields, loading: false });
  }

  private async _fetch(): Promise<void> {
    clearTimeout(this._poll);
    await this._fetcher?.run();
    this._plan();
  }

  /** True if `fetchData` is polled. With `reduce`, the client's own polls bring the events. */
  private get _polls(): boolean {
    if (!this._started || !this._fetcher) return false;
    if (!this.client) return true;
    const { mode } = this.client.state.get();
    const { updateSource } = this._store.get();
    return !this._options.reduce && updateSource === 'polling' && mode !== 'PAUSED';
  }

  private _plan(): void {
    clearTimeout(this._poll);
    if (!this._polls) return;
    const { pollingInterval } = this._intervals;
    const interval = isHidden() ? Math.max(HIDDEN_POLLING_MS, pollingInterval) : pollingInterval;
    this._poll = setTimeout(() => void this._fetch(), spread(interval, Math.random()));
  }

  /** Fetch when the page becomes visible, or the network returns. */
  private _wake(): void {
    if (this._polls) void this._fetch();
  }
}
