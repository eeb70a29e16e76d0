/** Client that a test controls. */

import { STARTING } from '../../src/react/initial.js';
import { Store } from '../../src/browser/store.js';
import { ChannelPresence } from '../../src/presence/channel-presence.js';
import { ChannelStream } from '../../src/streams/channel-stream.js';
import type {
  ChannelHandlers,
  ChannelState,
  Client,
  ClientState,
  Presence,
  PresenceOptions,
  RealtimeEvent,
  Reset,
  Snapshot,
  Stream,
  StreamOptions,
} from '../../src/types.js';

const EPOCH = 'k3v9q2wz';

export class FakeClient implements Client {
  readonly state = new Store<ClientState>({ ...STARTING, kind: 'paused', label: 'Paused' });
  readonly calls: string[] = [];
  /** All subscriptions, ended ones included. */
  readonly subscriptions: { channel: string; handlers: ChannelHandlers; ended: boolean }[] = [];
  /** Answer of the server to a request about a job; a test may let it throw. */
  answer: () => Promise<void> = async () => {};
  private readonly channels = new Map<string, Store<ChannelState>>();
  private offset = 0;

  start(): void {
    this.calls.push('start');
    this.show({ kind: 'starting', label: '', mode: 'BOOT' });
  }

  stop(): void {
    this.calls.push('stop');
    this.show({ kind: 'paused', label: 'Paused', mode: 'STOPPED' });
  }

  retry(): void {
    this.calls.push('retry');
  }

  refresh(): void {
    this.calls.push('refresh');
  }

  subscribe(channel: string, handlers: ChannelHandlers): () => void {
    const subscription = { channel, handlers, ended: false };
    this.subscriptions.push(subscription);
    return () => {
      subscription.ended = true;
    };
  }

  channel(name: string): Store<ChannelState> {
    const store = this.channels.get(name) ?? new Store<ChannelState>({ phase: 'syncing', position: null, error: null });
    this.channels.set(name, store);
    return store;
  }

  stream<Item = string>(channel: string, id?: string | null, options?: StreamOptions): Stream<Item> {
    return new ChannelStream<Item>(this, channel, id, options);
  }

  presence(channel: string, options?: PresenceOptions): Presence {
    return new ChannelPresence(this, channel, options);
  }

  async stopStream(channel: string, stream: string, attempt?: string | null): Promise<void> {
    this.calls.push(`stop ${channel} ${stream} ${attempt}`);
  }

  async cancelJob(channel: string, job: string, reason?: string): Promise<void> {
    this.calls.push(['cancel', channel, job, ...(reason ? [reason] : [])].join(' '));
    await this.answer();
  }

  async answerJob(channel: string, job: string, question: string, value: unknown): Promise<void> {
    this.calls.push(`answer ${channel} ${job} ${question} ${JSON.stringify(value)}`);
    await this.answer();
  }

  get live(): ChannelHandlers[] {
    return this.subscriptions.filter(({ ended }) => !ended).map(({ handlers }) => handlers);
  }

  show(fields: Partial<ClientState>): void {
    this.state.merge(fields);
  }

  /** Show a connected client. */
  goLive(): void {
    this.show({ kind: 'realtime', label: 'Real-time', mode: 'LIVE', transport: 'websocket', updateSource: 'websocket', websocketStatus: 'connected' });
  }

  emit(channel: string, event: string, data: unknown = {}, more: Partial<RealtimeEvent> = {}): RealtimeEvent {
    const sent = this.event(channel, event, data, more);
    for (const { channel: name, handlers, ended } of [...this.subscriptions]) {
      if (name === channel && !ended) void handlers.onEvent?.(sent);
    }
    const { id, position } = sent;
    this.channel(channel).merge({ phase: 'current', position: position ? { ...position, id } : null });
    return sent;
  }

  event(channel: string, event: string, data: unknown, more: Partial<RealtimeEvent> = {}): RealtimeEvent {
    this.offset += 1;
    const position = { epoch: EPOCH, offset: this.offset };
    return { channel, event, data, id: `e${this.offset}`, time: 1_763_836_800_000 + this.offset, position, ...more };
  }

  snapshot(channel: string, events: readonly RealtimeEvent[] = []): void {
    const snapshot: Snapshot = { channel, events, position: { epoch: EPOCH, offset: this.offset } };
    for (const handlers of this.live) void handlers.onSnapshot?.(snapshot);
    this.channel(channel).merge({ phase: 'current', position: snapshot.position });
  }

  reset(channel: string): void {
    const reset: Reset = { channel, reason: 'truncated', position: null };
    for (const handlers of this.live) void handlers.onReset?.(reset);
  }
}
