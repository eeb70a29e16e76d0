/** Values and interfaces of the package, shared by its parts and by applications. */

import type { JobData } from './payloads.js';

/** Place of an event in its channel; `id` is the event's id, and shows a log that was rolled back. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
  readonly id?: string;
}

/** Named message on a channel. */
export interface RealtimeEvent<Data = unknown, Name extends string = string> {
  readonly channel: string;
  readonly event: Name;
  readonly id: string;
  readonly data: Data;
  readonly key?: string;
  /** Change of a key that has an owner; absent: the event replaces what the log keeps for the key. */
  readonly fold?: 'append' | 'end' | 'note' | 'lapse';
  /** Name of the run that owns the key. */
  readonly attempt?: string;
  /** Id of the client that caused the event. */
  readonly source?: string;
  /** Trace context of the publish, as W3C Trace Context writes it; an OpenTelemetry propagator reads it from the event. */
  readonly traceparent?: string;
  /** Unix time of the log, in milliseconds. */
  readonly time?: number;
  /** Absent in signal mode. */
  readonly position?: Position;
}

/** Data of the application's declared events, by their names; `realtime-bridge types` writes a file that adds them. */
export interface RealtimeEvents {}

/** Data of the library's own events, by their names. */
export interface LibraryEvents {
  'job.queued': JobData;
  'job.started': JobData | null;
  'job.progress': JobData;
  'job.asking': JobData;
  'job.retrying': JobData;
  'job.lost': Pick<JobData, 'job' | 'title'> & { state: 'lost' };
  'job.completed': JobData;
  'job.failed': JobData;
  'job.cancelled': JobData;
  'job.cancelling': unknown;
  'job.answered': unknown;
  'stream.started': unknown;
  'stream.part': unknown;
  'stream.ended': unknown;
}

/** Event of a map from names to data: its name decides the type of its data. */
export type NamedEvent<Events> = { [Name in keyof Events & string]: RealtimeEvent<Events[Name], Name> }[keyof Events & string];

/** Event of a channel: with declared events, one of these or of the library's, which its name distinguishes. */
export type ChannelEvent = keyof RealtimeEvents extends never ? RealtimeEvent : NamedEvent<RealtimeEvents & LibraryEvents>;

export type ResetReason = 'epoch' | 'truncated' | 'ahead' | 'regressed' | 'signal';

/** Notice that events are missing before `position`: reload the data that you show. */
export interface Reset {
  readonly channel: string;
  readonly reason: ResetReason;
  readonly position: Position | null;
}

/** Notice that the server denies a channel: no event of it follows, until it is requested again. */
export interface ChannelError {
  readonly channel: string;
  /** The server's words. */
  readonly message: string;
}

/** Latest event of each key, as of `position`; of a key with an owner, its start, notes and end. */
export interface Snapshot {
  readonly channel: string;
  readonly events: readonly ChannelEvent[];
  readonly position: Position;
}

export type Phase = 'syncing' | 'current' | 'stale';

/** State of one channel. */
export interface ChannelState {
  readonly phase: Phase;
  readonly position: Position | null;
  /** Reason why the server denies this channel; null: it does not. */
  readonly error: string | null;
}

export interface ChannelHandlers {
  /** Called once for each event, in order, one call at a time. */
  onEvent?: (event: ChannelEvent) => void | Promise<void>;
  /** Called where events are missing, before the events that follow. */
  onReset?: (reset: Reset) => void | Promise<void>;
  /** Called where the server denies the channel. */
  onError?: (error: ChannelError) => void | Promise<void>;
  /** Called with the latest events after the first subscribe and after each reset; `onEvent` does not get them again. */
  onSnapshot?: (snapshot: Snapshot) => void | Promise<void>;
  /** Key whose events `onSnapshot` gets alone, with all items that its owner appended as one event. */
  snapshotKey?: string;
  /** Position to resume from; by default the current end of the channel. */
  position?: Position;
  /** True if the client stays connected for this channel while the page is hidden. */
  keepInBackground?: boolean;
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

export type StatusKind = 'starting' | 'connecting' | 'realtime' | 'polling' | 'delayed' | 'offline' | 'error' | 'paused';

export type TransportName = 'websocket' | 'sse' | 'poll' | 'pusher' | 'ably';

/** State of a client: the status for users, and details for developers. */
export interface ClientState {
  readonly kind: StatusKind;
  /** Real-time, Polling, Delayed, Connecting, Offline, Error … */
  readonly label: string;
  readonly reason: string | null;
  readonly mode: Mode;
  readonly transport: TransportName | null;
  readonly updateSource: 'websocket' | 'polling';
  readonly websocketStatus: 'connected' | 'connecting' | 'disconnected';
  readonly user: string | null;
  readonly client: string;
  readonly generation: number;
  /** Unix time of the last confirmation that the client was up to date, in milliseconds. */
  readonly lastSync: number | null;
  /** Failures in a row. */
  readonly attempts: number;
  /** Last transitions, the newest last. */
  readonly transitions: readonly Transition[];
}

export interface Transition {
  /** Unix time in milliseconds. */
  readonly at: number;
  readonly from: Mode;
  readonly to: Mode;
  readonly reason: string | null;
}

/** Entry for `onTelemetry`: never contains a payload or a token. `delay` is in milliseconds. */
export type Telemetry =
  | ({ readonly type: 'transition' } & Transition)
  | { readonly type: 'recovery'; readonly channel: string; readonly events: number }
  | { readonly type: 'gap'; readonly channel: string; readonly position: Position | null }
  | { readonly type: 'reset'; readonly channel: string; readonly reason: ResetReason }
  | { readonly type: 'denied'; readonly channel: string; readonly reason: string }
  | {
      readonly type: 'failure';
      readonly request: 'connect' | 'poll' | 'latest' | 'socket';
      readonly reason: string;
      /** Code of the bridge's own refusal; null: something else failed. */
      readonly code: string | null;
    }
  | { readonly type: 'delivery'; readonly channel: string; readonly delay: number };

export interface ClientOptions {
  /** URL at which the bridge is mounted; `/realtime` by default. */
  endpoint?: string;
  /** Bearer token, or a function that returns a fresh one; by default the application's session (cookies). */
  token?: string | (() => string | Promise<string>);
  /** `auto` by default: push, with polling as its fallback. */
  transport?: 'auto' | 'websocket' | 'sse' | 'poll';
  /** Interval between polls in milliseconds; 5 000 by default. Each interval is from 250 ms to an hour; other values are replaced with a warning. */
  pollingInterval?: number;
  /** Silence after which polling begins, heartbeats counted, in milliseconds; 15 000 by default. */
  fallbackDelay?: number;
  /** Upper bound of the first wait before a reconnect, in milliseconds; 3 000 by default. */
  reconnectInterval?: number;
  /** Failures in a row after which attempts slow down to one every 45 s; 5 by default, `Infinity`: never. */
  maxReconnectAttempts?: number;
  /** Time without a message of ours after which the client sends a ping, in milliseconds; 30 000 by default, 0 or `Infinity`: never. */
  heartbeatInterval?: number;
  /** False: this page has a WebSocket of its own; by default the tabs of one user share one, where the browser has Web Locks. */
  shareConnection?: boolean;
  websocketEnabled?: boolean;
  enableFeatureFlag?: boolean;
  onTelemetry?: (entry: Telemetry) => void;
}

/** Value that can be read and watched, in the form that `useSyncExternalStore` needs. */
export interface ReadableStore<Value> {
  get(): Value;
  subscribe(listener: () => void): () => void;
}

export type StreamPhase = 'unknown' | 'open' | 'completed' | 'failed' | 'stopped' | 'lost';

/** State of a stream of items from a worker. */
export interface StreamState<Item = string> {
  /** Id of the stream; null before its first event. */
  readonly id: string | null;
  /** Name of the run that writes it; a new run begins again without items. */
  readonly attempt: string | null;
  /** Form of the items: `text`, `json`, `ui-message` or `ag-ui`. */
  readonly format: string;
  /** `unknown` before the first event; `lost` while its writer is silent. */
  readonly state: StreamPhase;
  readonly items: readonly Item[];
  /** Items that are texts, joined. */
  readonly text: string;
  /** Text of a failure, or the server's reason to deny the channel. */
  readonly error: string | null;
  /** Value that the writer gave for readers. */
  readonly meta: unknown;
  /** True if older items are missing: the log has removed them. */
  readonly trimmed: boolean;
  /** Id of the writer's last event. */
  readonly lastId: string | null;
  readonly phase: Phase;
}

export interface StreamOptions {
  /** True if the client stays connected for this stream while the page is hidden. */
  readonly keepInBackground?: boolean;
}

/** Stream that a client reads while `state` has listeners; they are called once in an animation frame at most. */
export interface Stream<Item = string> {
  readonly state: ReadableStore<StreamState<Item>>;
  /** Stop the stream for all its readers; resolves when it is stopped, or had ended. */
  stop(): Promise<void>;
  /** End the subscription for all listeners; a new listener begins another one. */
  close(): void;
}

/** User who is present on a channel. */
export interface PresenceMember {
  readonly user: string;
  /** Information that the application adds to the id; null: none. */
  readonly info: Readonly<Record<string, unknown>> | null;
}

/** Members of a channel; a user with several pages is one. */
export interface PresenceState {
  /** Members that joined first, 100 at most. */
  readonly members: readonly PresenceMember[];
  /** Number of all members. */
  readonly count: number;
  readonly phase: Phase;
  /** Reason why the server denies the channel; null: it does not. */
  readonly error: string | null;
}

export interface PresenceOptions {
  /** Called once for each user who joins after the members were loaded. */
  onJoin?: ((member: PresenceMember) => void) | undefined;
  /** Called once for each user who has left for 2 s. */
  onLeave?: ((member: PresenceMember) => void) | undefined;
  /** True if the user stays present while the page is hidden for long. */
  readonly keepInBackground?: boolean;
}

/** Members of a channel. While `state` has listeners, this page's user is one of them. */
export interface Presence {
  readonly state: ReadableStore<PresenceState>;
  /** Leave, for all listeners; a new listener joins again. */
  close(): void;
}

/** Interface of `HybridClient`. */
export interface Client {
  readonly state: ReadableStore<ClientState>;
  start(): void;
  stop(): void;
  /** Connect again after DENIED or STOPPED, or when a user asks for it. */
  retry(): void;
  /** Poll now, and check that the socket works. */
  refresh(): void;
  /** Subscribe handlers to a channel, and return a function that unsubscribes them. Handlers of one channel share its subscription. */
  subscribe(channel: string, handlers: ChannelHandlers): () => void;
  channel(name: string): ReadableStore<ChannelState>;
  /** Return a stream of a channel; without `id`, the stream that began last. */
  stream<Item = string>(channel: string, id?: string | null, options?: StreamOptions): Stream<Item>;
  /** Return the members of a channel, whose name has 109 characters at most. */
  presence(channel: string, options?: PresenceOptions): Presence;
  /** Stop a stream, if `attempt` writes it; without `attempt`, whichever does. Resolves when it is stopped, or had ended. */
  stopStream(channel: string, stream: string, attempt?: string | null): Promise<void>;
  /**
   * Ask a job and its children to end. Resolves when the log has the request; the job's events show when it has ended. Rejects
   * with an error that has the `code` and `status` of the server, such as `ended`, `not_cancellable` or 403.
   */
  cancelJob(channel: string, job: string, reason?: string): Promise<void>;
  /**
   * Answer a question of a job with JSON of up to 8 KiB. Resolves for the first answer alone; rejects with an error that has the
   * `code` and `status` of the server, such as `answered`, `no_question`, `not_a_choice` or 403.
   */
  answerJob(channel: string, job: string, question: string, value: unknown): Promise<void>;
}
