/** The client that always has a way: push while it can be had, polling for as long as not. */

import { Carrier } from './transports/transport-manager.js';
import { Channels } from './channels/subscription-set.js';
import { debug } from './browser/debug.js';
import { Descriptors } from './http/descriptor.js';
import { hex } from './browser/ids.js';
import { DEFAULT_TIMING } from './machine/timing.js';
import { latest } from './http/bridge-http.js';
import { guarded } from './browser/report.js';
import { Shell } from './client-runner.js';
import { LABELS } from './machine/status.js';
import type { Status } from './machine/status.js';
import { Store } from './browser/store.js';
import type {
  ChannelHandlers,
  ChannelState,
  Client,
  ClientOptions,
  ClientState,
  Mode,
  ReadableStore,
  Snapshot,
  StatusKind,
  Telemetry,
  Transition,
} from './types.js';

/** How many transitions the state shows. */
const REMEMBERED = 20;

const CONNECTING: readonly Mode[] = ['BOOT', 'CONNECTING', 'PROBING', 'UPGRADING', 'SUSPECT'];

const log = debug('client');

/**
 * Listens to channels: each event once and in order, or an explicit reset. It connects, recovers
 * and falls back by itself from `start()` to `stop()`; nothing is touched before. With
 * `websocketEnabled: false` or `enableFeatureFlag: false` it contacts nothing at all.
 */
export class HybridClient implements Client {
  /** This page's id: events published with it as their `source` are skipped here. */
  readonly id = `c_${hex(16)}`;
  private readonly _options: ClientOptions;
  private readonly _enabled: boolean;
  private readonly _store: Store<ClientState>;
  private readonly _channels: Channels;
  private readonly _descriptors: Descriptors;
  private readonly _carrier: Carrier;
  private readonly _shell: Shell;
  private _stopped = new AbortController();

  constructor(options: ClientOptions = {}) {
    this._options = options;
    const { endpoint = '/realtime', token, transport = 'auto' } = options;
    this._enabled = (options.websocketEnabled ?? true) && (options.enableFeatureFlag ?? true);
    this._descriptors = new Descriptors({ endpoint, client: this.id, reuse: DEFAULT_TIMING.descriptorReuse, ...(token && { token }) });
    this._channels = new Channels({
      client: this.id,
      latest: (channel) => this._latest(channel),
      telemetry: (entry) => this._tell(entry),
    });
    this._shell = new Shell({ ...options, push: transport !== 'poll' }, {
      perform: (command) => {
        log('%s %s', command.do, command.socket ?? '');
        this._carrier.perform(command);
      },
      settled: (before) => this._publish(before),
      current: () => this._channels.current,
      keep: () => this._channels.keep,
    }, DEFAULT_TIMING);
    this._carrier = new Carrier(this._channels, this._descriptors, options, DEFAULT_TIMING, (take) =>
      this._shell.input(take),
    );
    this._store = new Store(this._state({ lastSync: null, transitions: [] }));
  }

  get state(): ReadableStore<ClientState> {
    return this._store;
  }

  start(): void {
    if (!this._enabled || this._shell.isRunning) return;
    this._stopped = new AbortController();
    this._shell.start(this._descriptors.recall()?.terms ?? null);
    this._channels.resume();
  }

  stop(): void {
    if (!this._shell.isRunning) return;
    this._shell.stop();
    this._carrier.release();
    this._stopped.abort();
    this._channels.pause();
  }

  retry(): void {
    const forgiven = this._channels.forgive();
    if (!this._shell.isRunning) this.start();
    else this._shell.input((machine) => machine.retry());
    for (const channel of forgiven) this._carrier.subscribe(channel);
  }

  refresh(): void {
    this._shell.input((machine) => machine.refresh());
  }

  subscribe(channel: string, handlers: ChannelHandlers): () => void {
    const isNew = !this._channels.has(channel);
    const remove = this._channels.add(channel, handlers);
    if (isNew) this._carrier.subscribe(channel);
    return () => {
      if (remove()) this._carrier.unsubscribe(channel);
    };
  }

  channel(name: string): ReadableStore<ChannelState> {
    return this._channels.state(name);
  }

  private _latest(channel: string): Promise<Snapshot> {
    return latest(channel, this._descriptors, this._stopped.signal);
  }

  private _publish(before: Mode): void {
    const transitions = this._transitions(before);
    this._store.merge(this._state({ ...this._store.get(), transitions }));
  }

  /** What there is to show now, after what was shown before. */
  private _state(before: Pick<ClientState, 'lastSync' | 'transitions'> & Partial<ClientState>): ClientState {
    const machine = this._shell.state;
    const { mode } = machine;
    const live = mode === 'LIVE';
    const connecting = CONNECTING.includes(mode) ? 'connecting' : 'disconnected';
    return {
      ...shown(this._shell.status, before.kind),
      mode,
      transport: this._carrier.pushing ?? (machine.polling ? 'poll' : null),
      updateSource: live ? 'websocket' : 'polling',
      websocketStatus: live ? 'connected' : connecting,
      user: this._descriptors.last?.user ?? null,
      client: this.id,
      generation: machine.terms?.generation ?? 0,
      lastSync: this._lastSync(machine.lastOk, before.lastSync),
      attempts: machine.attempts.failures,
      transitions: before.transitions,
    };
  }

  private _lastSync(lastOk: number | null, before: number | null): number | null {
    if (lastOk === null) return before;
    const at = Date.now() - (this._shell.now - lastOk);
    return before !== null && Math.abs(at - before) < DEFAULT_TIMING.lastSyncStep ? before : at;
  }

  private _transitions(from: Mode): readonly Transition[] {
    const { mode: to, reason } = this._shell.state;
    if (from === to) return this._store.get().transitions;
    const transition: Transition = { at: Date.now(), from, to, reason };
    this._tell({ type: 'transition', ...transition });
    return [...this._store.get().transitions, transition].slice(-REMEMBERED);
  }

  private _tell(entry: Telemetry): void {
    log('%o', entry);
    guarded(() => this._options.onTelemetry?.(entry));
  }
}

/** What has no word yet leaves the one before. */
function shown(status: Status, before: StatusKind | undefined): Status {
  const kept = status.kind === 'starting' && (before === 'realtime' || before === 'polling');
  return kept ? { ...status, kind: before, label: LABELS[before] } : status;
}
