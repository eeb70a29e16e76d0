/** The core of `useHybridUpdates`: one user's data, kept up to date by push or by polling. */

import { HybridClient } from './hybrid-client.js';
import { Fetcher } from './http/fetcher.js';
import type { Fetch } from './http/fetcher.js';
import { isHidden, watchPage } from './browser/page-events.js';
import { guarded } from './browser/report.js';
import { Store } from './browser/store.js';
import type { Client, ClientOptions, ReadableStore, RealtimeEvent, Snapshot } from './types.js';

/** What reads the application's own state over HTTP. */
export type FetchData<Data> = Fetch<Data>;

export interface HybridUpdatesOptions<Data> extends ClientOptions {
  /** What an event makes of the data; without it each burst of events triggers one `fetchData`. */
  reduce?: (data: Data | null, event: RealtimeEvent) => Data;
  /** Called once for each event, in order. */
  onEvent?: (event: RealtimeEvent) => void | Promise<void>;
  /** Without `fetchData`: what the latest events make of the data, at the start and after a reset. */
  onSnapshot?: (snapshot: Snapshot) => Data | void;
  /** A client to share, which somebody else starts; by default one of its own, of these options. */
  client?: Client;
}

export interface UpdatesState<Data> {
  readonly data: Data | null;
  /** Until the first data, or the first failure to get it. */
  readonly loading: boolean;
  /** Of the last `fetchData`; null when it went well. */
  readonly error: unknown;
  readonly updateSource: 'websocket' | 'polling';
  readonly websocketStatus: 'connected' | 'connecting' | 'disconnected';
}

/** What is shown before anything is known. */
export const LOADING: UpdatesState<never> = {
  data: null,
  loading: true,
  error: null,
  updateSource: 'polling',
  websocketStatus: 'disconnected',
};

/** So long a burst of events is gathered before `fetchData`, in milliseconds. */
const BURST_MS = 250;

/** The first `fetchData` waits so long for the channel, so that one call serves; in milliseconds. */
const PATIENCE_MS = 1_000;

/** Between polls of a page that nobody sees, in milliseconds. */
const IDLE_MS = 60_000;

const POLLING_MS = 5_000;
const RETRY_MS = 3_000;
const SPREAD = 0.2;

type Timer = ReturnType<typeof setTimeout>;

/** Nothing is contacted before `start()`; after `stop()` it can be started again. */
export class HybridUpdates<Data> {
  /** Null when realtime is switched off: then `fetchData` is polled, and nothing else contacted. */
  readonly client: Client | null;
  private readonly _store = new Store<UpdatesState<Data>>(LOADING);
  private readonly _options: HybridUpdatesOptions<Data>;
  private readonly _channel: string;
  private readonly _fetcher: Fetcher<Data> | null;
  private _started = false;
  private _positioned = false;
  private _releases: (() => void)[] = [];
  private _patience: Timer | undefined;
  private _burst: Timer | undefined;
  private _poll: Timer | undefined;

  constructor(
    fetchData: FetchData<Data> | null | undefined,
    userId: string | number,
    options: HybridUpdatesOptions<Data> = {},
  ) {
    this._options = options;
    const { websocketEnabled = true, enableFeatureFlag = true, client, reconnectInterval } = options;
    this.client = websocketEnabled && enableFeatureFlag ? (client ?? new HybridClient(options)) : null;
    this._channel = `user-${userId}`;
    const listener = {
      fetched: (data: Data) => this._show({ data, error: null }),
      failed: (error: unknown) => this._show({ error }),
    };
    this._fetcher = fetchData ? new Fetcher(fetchData, listener, reconnectInterval ?? RETRY_MS) : null;
  }

  get state(): ReadableStore<UpdatesState<Data>> {
    return this._store;
  }

  start(): void {
    if (this._started) return;
    this._started = true;
    this._positioned = false;
    this._releases = [watchPage((news) => news === 'hidden' || news === 'offline' || this._wake())];
    if (this.client) this._listen(this.client);
    else void this._fetch();
  }

  stop(): void {
    if (!this._started) return;
    this._started = false;
    for (const timer of [this._patience, this._burst, this._poll]) clearTimeout(timer);
    this._burst = undefined;
    for (const release of this._releases) release();
    this._fetcher?.stop();
    if (!this._options.client) this.client?.stop();
  }

  /** Fetch now; resolves when the data is there, or could not be had. */
  async refresh(): Promise<void> {
    if (this._fetcher) await this._fetch();
    else this.client?.refresh();
  }

  private _listen(client: Client): void {
    if (!this._options.client) client.start();
    const { onSnapshot } = this._options;
    const snapshot = !this._fetcher && onSnapshot;
    this._releases.push(
      client.state.subscribe(() => this._follow(client)),
      client.subscribe(this._channel, {
        onEvent: (event) => this._event(event),
        onReset: () => this._fetcher?.begun ? this._fetch() : undefined,
        ...(snapshot && { onSnapshot: (latest: Snapshot) => {
          const data = snapshot(latest);
          this._show(data === undefined ? {} : { data });
        } }),
      }),
      client.channel(this._channel).subscribe(() => this._position(client)),
    );
    this._patience = setTimeout(() => this._begin(), PATIENCE_MS);
    this._follow(client);
    this._position(client);
  }

  /** Show what the client says, and do not wait for a channel that will not come soon. */
  private _follow(client: Client): void {
    const { updateSource, websocketStatus, mode, attempts } = client.state.get();
    const changed = updateSource !== this._store.get().updateSource;
    this._store.merge({ updateSource, websocketStatus });
    if (changed) this._plan();
    if (attempts > 0 || mode === 'FALLBACK' || mode === 'DENIED') this._begin();
  }

  /** Data that was read before the channel stood anywhere may lack what came between. */
  private _position(client: Client): void {
    const { position, error } = client.channel(this._channel).get();
    if (error) this._begin();
    if (this._positioned || !position) return;
    this._positioned = true;
    if (this._fetcher?.begun) void this._fetch();
    else this._begin();
  }

  private _begin(): void {
    clearTimeout(this._patience);
    if (this._fetcher && !this._fetcher.begun) void this._fetch();
  }

  /** With `reduce`, what comes while the data is fetched waits for it. */
  private _event(event: RealtimeEvent): void | Promise<void> {
    const pending = this._options.reduce && this._fetcher?.pending;
    if (pending) return pending.then(() => this._take(event));
    return this._take(event);
  }

  private _take(event: RealtimeEvent): void | Promise<void> {
    if (this._options.reduce) this._reduce(event);
    else if (this._fetcher) this._burst ??= setTimeout(() => {
      this._burst = undefined;
      void this._fetch();
    }, BURST_MS);
    return this._options.onEvent?.(event);
  }

  /** Data that could not be fetched will have what happened meanwhile when it can. */
  private _reduce(event: RealtimeEvent): void {
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

  /** Poll where nothing is pushed, or nothing can be: with `reduce` the client's polls do it. */
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
    const { pollingInterval = POLLING_MS } = this._options;
    const interval = isHidden() ? Math.max(IDLE_MS, pollingInterval) : pollingInterval;
    const wait = interval * (1 - SPREAD + 2 * SPREAD * Math.random());
    this._poll = setTimeout(() => void this._fetch(), wait);
  }

  /** Somebody looks again, or the network is back. */
  private _wake(): void {
    if (this._polls) void this._fetch();
  }
}
