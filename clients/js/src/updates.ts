/** The core of `useHybridUpdates`. */
import type { Client, ClientOptions, ReadableStore, RealtimeEvent, Snapshot } from './types.js';
import { Store } from './store.js';

/** What reads the application's own state over HTTP. */
export type FetchData<Data> = (context: { signal: AbortSignal }) => Data | Promise<Data>;

export interface HybridUpdatesOptions<Data> extends ClientOptions {
  /** What an event makes of the data; without it each burst of events triggers one `fetchData`. */
  reduce?: (data: Data | null, event: RealtimeEvent) => Data;
  /** Called once for each event, in order. */
  onEvent?: (event: RealtimeEvent) => void | Promise<void>;
  /** Without `fetchData`: what the latest events make of the data, at the start and after a reset. */
  onSnapshot?: (snapshot: Snapshot) => Data | void;
  /** A client to share; by default one of its own, made of these options. */
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

/** Nothing is contacted before `start()`; after `stop()` it can be started again. */
export class HybridUpdates<Data> {
  readonly state: ReadableStore<UpdatesState<Data>>;
  /** Null when realtime is switched off: then `fetchData` is polled, and nothing else contacted. */
  readonly client: Client | null = null;

  constructor(
    _fetchData: FetchData<Data> | null | undefined,
    _userId: string | number,
    _options: HybridUpdatesOptions<Data> = {},
  ) {
    this.state = new Store<UpdatesState<Data>>({
      data: null,
      loading: true,
      error: null,
      updateSource: 'polling',
      websocketStatus: 'disconnected',
    });
  }

  start(): void {}

  stop(): void {}

  /** Fetch now; resolves when the data is there. */
  async refresh(): Promise<void> {}
}
