/** The values that every part of this package, and every application that uses it, speaks of. */

/** An event's place in its channel; `id` is that of the event there, and guards against a log that lost its tail. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
  readonly id?: string;
}

/** One named message on a channel. */
export interface RealtimeEvent<Data = unknown> {
  readonly channel: string;
  readonly event: string;
  readonly id: string;
  readonly data: Data;
  readonly key?: string;
  /** The client that caused it. */
  readonly source?: string;
  /** Milliseconds since the Unix epoch, by the log. */
  readonly time?: number;
  /** Absent in signal mode. */
  readonly position?: Position;
}

export type ResetReason = 'epoch' | 'truncated' | 'ahead' | 'regressed' | 'forbidden' | 'signal';

/** There is a hole before what follows: reload what you show. */
export interface Reset {
  readonly channel: string;
  readonly reason: ResetReason;
  readonly position: Position | null;
}

/** The latest event of each key, and the position at which that was so. */
export interface Snapshot {
  readonly channel: string;
  readonly events: readonly RealtimeEvent[];
  readonly position: Position;
}

export type Phase = 'syncing' | 'current' | 'stale';

/** What a page is told of one channel. */
export interface ChannelState {
  readonly phase: Phase;
  readonly position: Position | null;
  /** Why this user gets nothing of it, if so. */
  readonly error: string | null;
}

export interface ChannelHandlers {
  /** Called once for each event, in order, one at a time. */
  onEvent?: (event: RealtimeEvent) => void | Promise<void>;
  /** Called where there is a hole, before what follows it. */
  onReset?: (reset: Reset) => void | Promise<void>;
  /** Called on first subscribe and after each reset with `latest`, when given; never replayed as events. */
  onSnapshot?: (snapshot: Snapshot) => void | Promise<void>;
  /** Where to go on from; by default, now. */
  position?: Position;
  /** Whether to stay connected for it while nobody sees the page. */
  keep?: boolean;
}

export type Mode =
  | 'IDLE'
  | 'BOOT'
  | 'CONNECTING'
  | 'PROBING'
  | 'LIVE'
  | 'SUSPECT'
  | 'FALLBACK'
  | 'UPGRADING'
  | 'PAUSED'
  | 'DENIED'
  | 'STOPPED';

export type StatusKind = 'starting' | 'connecting' | 'realtime' | 'polling' | 'offline' | 'error' | 'paused';

export type TransportName = 'websocket' | 'sse' | 'poll' | 'pusher' | 'ably';

/** What people are shown of the connection, and what a developer wants to see beside it. */
export interface ClientState {
  readonly kind: StatusKind;
  /** Real-time, Polling, Connecting, Offline, Error … */
  readonly label: string;
  readonly reason: string | null;
  readonly mode: Mode;
  readonly transport: TransportName | null;
  readonly updateSource: 'websocket' | 'polling';
  readonly websocketStatus: 'connected' | 'connecting' | 'disconnected';
  readonly user: string | null;
  readonly client: string;
  readonly generation: number;
  /** Unix milliseconds of the last sign that we are up to date. */
  readonly lastSync: number | null;
  /** Failures in a row. */
  readonly attempts: number;
  /** The last transitions, the newest last. */
  readonly transitions: readonly Transition[];
}

export interface Transition {
  readonly at: number;
  readonly from: Mode;
  readonly to: Mode;
  readonly reason: string | null;
}

/** What `onTelemetry` gets: never a payload, never a token. */
export type Telemetry =
  | ({ readonly type: 'transition' } & Transition)
  | { readonly type: 'recovery'; readonly channel: string; readonly events: number }
  | { readonly type: 'gap'; readonly channel: string; readonly position: Position | null }
  | { readonly type: 'reset'; readonly channel: string; readonly reason: ResetReason }
  | { readonly type: 'delivery'; readonly channel: string; readonly delay: number };

export interface ClientOptions {
  /** Where the bridge is mounted; `/realtime` by default. */
  endpoint?: string;
  /** A bearer token, or what gets a fresh one; by default the application's own session (cookies). */
  token?: string | (() => string | Promise<string>);
  /** `auto` by default: push with polling as its fallback. */
  transport?: 'auto' | 'websocket' | 'sse' | 'poll';
  /** Milliseconds; 5 000 by default. */
  pollingInterval?: number;
  /** Milliseconds of silence, heartbeats counted, after which polling begins; 15 000 by default. */
  fallbackDelay?: number;
  /** Milliseconds, the upper bound of the first wait; 3 000 by default. */
  reconnectInterval?: number;
  /** Failures in a row after which attempts slow to one a minute; 5 by default. */
  maxReconnectAttempts?: number;
  /** Milliseconds: our own ping when nothing was sent for so long; 30 000 by default. */
  heartbeatInterval?: number;
  websocketEnabled?: boolean;
  enableFeatureFlag?: boolean;
  onTelemetry?: (entry: Telemetry) => void;
}

/** A value that can be read and watched: what `useSyncExternalStore` wants. */
export interface ReadableStore<Value> {
  get(): Value;
  subscribe(listener: () => void): () => void;
}

/** What `new HybridClient(options)` gives. */
export interface Client {
  readonly state: ReadableStore<ClientState>;
  start(): void;
  stop(): void;
  /** Try again after DENIED, STOPPED, or whenever a person asks. */
  retry(): void;
  /** Poll now, or make sure that the socket lives. */
  refresh(): void;
  /** Listen to a channel; returns what ends it. Several handlers of one channel share its subscription. */
  subscribe(channel: string, handlers: ChannelHandlers): () => void;
  channel(name: string): ReadableStore<ChannelState>;
}
