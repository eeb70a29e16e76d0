/** Client that pushes where possible, and polls where not. */

import { debug } from './browser/debug.js';
import { hex } from './browser/ids.js';
import { guarded } from './browser/report.js';
import { Store } from './browser/store.js';
import { SubscriptionSet } from './channels/subscription-set.js';
import { ClientRunner } from './client-runner.js';
import { BridgeHTTP } from './http/bridge-http.js';
import { DescriptorStore } from './http/descriptor.js';
import { failureOf } from './http/request.js';
import { checkIntervals } from './machine/options.js';
import { LABELS } from './machine/status.js';
import type { ConnectionStatus } from './machine/status.js';
import { DEFAULT_TIMING } from './machine/timing.js';
import { ChannelPresence } from './presence/channel-presence.js';
import { ChannelStream } from './streams/channel-stream.js';
import { TransportManager } from './transports/transport-manager.js';
import type {
  ChannelHandlers,
  ChannelState,
  Client,
  ClientOptions,
  ClientState,
  Mode,
  Presence,
  PresenceOptions,
  ReadableStore,
  Snapshot,
  StatusKind,
  Stream,
  StreamOptions,
  Telemetry,
  Transition,
} from './types.js';

/** Number of transitions in the state. */
const SHOWN_TRANSITIONS = 20;

const CONNECTING: readonly Mode[] = ['BOOT', 'CONNECTING', 'PROBING', 'UPGRADING', 'SUSPECT'];

const log = debug('client');

/**
 * Client of one bridge: delivers each event once and in order, or a reset. It connects, recovers and
 * falls back to polling by itself between `start()` and `stop()`, and contacts nothing before. With
 * `websocketEnabled: false` or `enableFeatureFlag: false` it never contacts the bridge.
 */
export class HybridClient implements Client {
  /** Id of this page: events published with it as their `source` are skipped here. */
  readonly id = `c_${hex(16)}`;
  private readonly _options: ClientOptions;
  private readonly _enabled: boolean;
  private readonly _store: Store<ClientState>;
  private readonly _subscriptions: SubscriptionSet;
  private readonly _descriptors: DescriptorStore;
  private readonly _http: BridgeHTTP;
  private readonly _transports: TransportManager;
  private readonly _runner: ClientRunner;
  private _stopped = new AbortController();

  constructor(options: ClientOptions = {}) {
    const [intervals, problems] = checkIntervals(options);
    if (problems.length) console.warn(`realtime-bridge: ${problems.join('; ')}`);
    this._options = options;
    const { endpoint = '/realtime', token, transport = 'auto' } = options;
    const reuse = DEFAULT_TIMING.descriptorReuse;
    this._enabled = (options.websocketEnabled ?? true) && (options.enableFeatureFlag ?? true);
    this._descriptors = new DescriptorStore({ endpoint, reuse, client: this.id, ...(token && { token }) });
    this._http = new BridgeHTTP(this._descriptors);
    this._subscriptions = new SubscriptionSet({
      client: this.id,
      latest: (channel, key) => this._latest(channel, key),
      telemetry: (entry) => this._report(entry),
      loaded: () => this._runner.input(() => {}),
      requested: (channel) => this._transports.subscribe(channel),
      ended: (channels) => this._transports.unsubscribe(channels),
    }, DEFAULT_TIMING);
    this._runner = new ClientRunner({ ...intervals, push: transport !== 'poll' }, {
      perform: (command) => {
        log('%s %s', command.do, command.socket ?? '');
        this._transports.perform(command);
      },
      settled: (before) => this._publish(before),
      sync: () => ({
        ok: this._subscriptions.current,
        loaded: this._subscriptions.loaded,
        unpushed: this._transports.unpushed,
      }),
      staysConnected: () => this._subscriptions.staysConnected,
    }, DEFAULT_TIMING);
    this._transports = new TransportManager(
      this._subscriptions,
      this._descriptors,
      this._http,
      { ...options, ...intervals },
      DEFAULT_TIMING,
      (apply) => this._runner.input(apply),
      (entry) => this._report(entry),
    );
    this._store = new Store(this._state({ lastSync: null, transitions: [] }));
  }

  get state(): ReadableStore<ClientState> {
    return this._store;
  }

  start(): void {
    if (!this._enabled || this._runner.isRunning) return;
    this._stopped = new AbortController();
    this._runner.start(this._descriptors.load()?.terms ?? null);
    this._subscriptions.resume();
  }

  stop(): void {
    if (!this._runner.isRunning) return;
    this._runner.stop();
    this._transports.release();
    this._stopped.abort();
    this._subscriptions.pause();
  }

  retry(): void {
    if (!this._runner.isRunning) this.start();
    else this._runner.input((machine) => machine.retry());
    this._subscriptions.retryDenied();
  }

  refresh(): void {
    this._runner.input((machine) => machine.refresh());
  }

  subscribe(channel: string, handlers: ChannelHandlers): () => void {
    return this._subscriptions.add(channel, handlers);
  }

  channel(name: string): ReadableStore<ChannelState> {
    return this._subscriptions.state(name);
  }

  stream<Item = string>(channel: string, id?: string | null, options?: StreamOptions): Stream<Item> {
    return new ChannelStream<Item>(this, channel, id, options);
  }

  presence(channel: string, options?: PresenceOptions): Presence {
    return new ChannelPresence(this, channel, options);
  }

  stopStream(channel: string, stream: string, attempt?: string | null): Promise<void> {
    const fields = { channel, stream, ...(attempt && { attempt }) };
    return this._http.stopStream(fields, AbortSignal.timeout(DEFAULT_TIMING.pollTimeout));
  }

  cancelJob(channel: string, job: string, reason?: string): Promise<void> {
    const fields = { channel, job, ...(reason && { reason }) };
    return this._http.cancelJob(fields, AbortSignal.timeout(DEFAULT_TIMING.pollTimeout));
  }

  answerJob(channel: string, job: string, question: string, value: unknown): Promise<void> {
    const fields = { channel, job, question, value };
    return this._http.answerJob(fields, AbortSignal.timeout(DEFAULT_TIMING.pollTimeout));
  }

  private _publish(before: Mode): void {
    const transitions = this._transitions(before);
    this._store.merge(this._state({ ...this._store.get(), transitions }));
  }

  /** Return the state now; `before` is the last one. */
  private _state(before: Pick<ClientState, 'lastSync' | 'transitions'> & Partial<ClientState>): ClientState {
    const machine = this._runner.state;
    const { mode } = machine;
    const live = mode === 'LIVE';
    const connecting = CONNECTING.includes(mode) ? 'connecting' : 'disconnected';
    return {
      ...steady(this._runner.status, before.kind),
      mode,
      transport: this._transports.pushing ?? (machine.polling ? 'poll' : null),
      updateSource: live ? 'websocket' : 'polling',
      websocketStatus: live ? 'connected' : connecting,
      user: this._descriptors.last?.user ?? null,
      client: this.id,
      generation: machine.terms?.generation ?? 0,
      lastSync: this._lastSync(machine.lastOk, before.lastSync),
      attempts: machine.reconnectPolicy.failures,
      transitions: before.transitions,
    };
  }

  private _lastSync(lastOk: number | null, before: number | null): number | null {
    if (lastOk === null) return before;
    const at = Date.now() - (this._runner.now - lastOk);
    // Small steps would render a page at each message.
    return before !== null && Math.abs(at - before) < DEFAULT_TIMING.lastSyncStep ? before : at;
  }

  private _transitions(from: Mode): readonly Transition[] {
    const { mode: to, reason } = this._runner.state;
    if (from === to) return this._store.get().transitions;
    const transition: Transition = { at: Date.now(), from, to, reason };
    this._report({ type: 'transition', ...transition });
    return [...this._store.get().transitions, transition].slice(-SHOWN_TRANSITIONS);
  }

  /** Request a snapshot; the caller tries again, and developers get the cause of each failure. */
  private async _latest(channel: string, key: string | undefined): Promise<Snapshot> {
    const { signal } = this._stopped;
    try {
      return await this._http.latest(channel, key, signal);
    } catch (error) {
      if (!signal.aborted) this._report(failureOf(error, 'latest'));
      throw error;
    }
  }

  private _report(entry: Telemetry): void {
    log('%o', entry);
    guarded(() => this._options.onTelemetry?.(entry));
  }
}

/** Keep the last kind and label while the new status has no text yet. */
function steady(status: ConnectionStatus, before: StatusKind | undefined): ConnectionStatus {
  const keep = status.kind === 'starting' && (before === 'realtime' || before === 'polling');
  return keep ? { ...status, kind: before, label: LABELS[before] } : status;
}
