/** The channels of one client: what arrives goes in, calls of handlers come out. */

import { Delivery } from './handler-queue.js';
import { Reducer } from './reducer.js';
import type { Output, Page } from './reducer.js';
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

/** What is shown of a channel before anybody listens to it. */
export const NOT_SUBSCRIBED: ChannelState = { phase: 'syncing', position: null, error: null };

export interface ChannelsOptions {
  client: string;
  latest: (channel: string) => Promise<Snapshot>;
  telemetry: (entry: Telemetry) => void;
}

interface Channel {
  readonly name: string;
  readonly reducer: Reducer;
  readonly deliveries: Set<Delivery>;
  /** Why this user gets nothing of it. */
  error: string | null;
}

/** Methods that take what arrived return whether the log has to be asked for what is missing. */
export class Channels {
  private readonly _channels = new Map<string, Channel>();
  private readonly _stores = new Map<string, Store<ChannelState>>();
  private readonly _loading = new Map<string, Promise<Snapshot>>();

  constructor(private readonly _options: ChannelsOptions) {}

  /** The channels that are wanted, and not refused. */
  get names(): string[] {
    return [...this._channels.values()].filter(({ error }) => !error).map(({ name }) => name);
  }

  get positions(): Record<string, Position | null> {
    return Object.fromEntries(this.names.map((name) => [name, this.position(name)]));
  }

  /** Whether all events of every channel have arrived, as far as anybody said. */
  get current(): boolean {
    return this.behind.length === 0;
  }

  /** The channels of which something is known to be missing. */
  get behind(): string[] {
    return this.names.filter((name) => this._channels.get(name)?.reducer.phase !== 'current');
  }

  get keep(): boolean {
    return this._deliveries().some(({ keep }) => keep);
  }

  has(name: string): boolean {
    return this._channels.has(name);
  }

  position(name: string): Position | null {
    return this._channels.get(name)?.reducer.position ?? null;
  }

  state(name: string): Store<ChannelState> & ReadableStore<ChannelState> {
    const store = this._stores.get(name) ?? new Store(NOT_SUBSCRIBED);
    this._stores.set(name, store);
    return store;
  }

  /** Returns what takes the handlers off again, and tells whether they were the last. */
  add(name: string, handlers: ChannelHandlers): () => boolean {
    const channel = this._channels.get(name) ?? this._open(name, handlers.position);
    const delivery = new Delivery(handlers, () => this._latest(name));
    channel.deliveries.add(delivery);
    if (channel.reducer.position && !handlers.position) delivery.snapshot();
    return () => this._remove(channel, delivery);
  }

  event(event: RealtimeEvent): boolean {
    const channel = this._channels.get(event.channel);
    if (!channel) return false;
    if (event.time !== undefined) {
      const delay = Date.now() - event.time;
      this._options.telemetry({ type: 'delivery', channel: event.channel, delay });
    }
    return this._pushed(channel, channel.reducer.event(event));
  }

  page(name: string, page: Page): boolean {
    const channel = this._channels.get(name);
    if (!channel) return false;
    const { reducer } = channel;
    if (reducer.position) return this._recovered(channel, reducer.page(page));
    const recover = this._perform(channel, reducer.start(page.top));
    for (const delivery of channel.deliveries) delivery.snapshot();
    return recover;
  }

  /** `asked` is the position that this answers to, if it does. */
  reset(
    name: string,
    reason: ResetReason,
    position: Position | null,
    asked: Position | null,
  ): boolean {
    const channel = this._channels.get(name);
    return channel ? this._perform(channel, channel.reducer.reset(reason, position, asked)) : false;
  }

  announced(name: string, offset: number): boolean {
    const channel = this._channels.get(name);
    return channel ? this._pushed(channel, channel.reducer.announced(offset)) : false;
  }

  /** This user gets nothing of the channel, until somebody asks for it anew. */
  refuse(name: string, message: string): void {
    const channel = this._channels.get(name);
    if (!channel) return;
    channel.error = message;
    this._perform(channel, channel.reducer.reset('forbidden', null));
  }

  /** Want what was refused again; returns the channels. */
  forgive(): string[] {
    const refused = [...this._channels.values()].filter(({ error }) => error);
    for (const channel of refused) {
      channel.error = null;
      this._publish(channel);
    }
    return refused.map(({ name }) => name);
  }

  interrupted(): void {
    for (const channel of this._channels.values()) {
      channel.reducer.interrupted();
      this._publish(channel);
    }
  }

  pause(): void {
    for (const delivery of this._deliveries()) delivery.pause();
  }

  resume(): void {
    for (const delivery of this._deliveries()) delivery.resume();
  }

  private _open(name: string, position: Position | undefined): Channel {
    const reducer = new Reducer({ client: this._options.client, position: position ?? null });
    const channel: Channel = { name, reducer, deliveries: new Set(), error: null };
    this._channels.set(name, channel);
    this._publish(channel);
    return channel;
  }

  private _remove(channel: Channel, delivery: Delivery): boolean {
    delivery.end();
    channel.deliveries.delete(delivery);
    if (channel.deliveries.size || this._channels.get(channel.name) !== channel) return false;
    this._channels.delete(channel.name);
    this.state(channel.name).set(NOT_SUBSCRIBED);
    return true;
  }

  private _recovered(channel: Channel, outputs: Output[]): boolean {
    const events = outputs.filter((output) => output.do === 'deliver').length;
    if (events) this._options.telemetry({ type: 'recovery', channel: channel.name, events });
    return this._perform(channel, outputs);
  }

  private _perform(channel: Channel, outputs: Output[]): boolean {
    this._publish(channel);
    let recover = false;
    for (const output of outputs) {
      if (output.do === 'recover') recover = true;
      else if (output.do === 'restart') this._restart(channel, output.reason, output.position);
      else for (const delivery of [...channel.deliveries]) delivery.event(output.event);
    }
    return recover;
  }

  private _restart(channel: Channel, reason: ResetReason, position: Position | null): void {
    this._options.telemetry({ type: 'reset', channel: channel.name, reason });
    for (const delivery of [...channel.deliveries]) {
      delivery.reset({ channel: channel.name, reason, position });
    }
  }

  /** What is missing before something that was pushed is a gap. */
  private _pushed(channel: Channel, outputs: Output[]): boolean {
    const recover = this._perform(channel, outputs);
    const { name, reducer } = channel;
    if (recover) this._options.telemetry({ type: 'gap', channel: name, position: reducer.position });
    return recover;
  }

  private _publish({ name, reducer: { phase, position }, error }: Channel): void {
    this.state(name).merge({ phase, position, error });
  }

  private _latest(name: string): Promise<Snapshot> {
    const loading = this._loading.get(name) ?? this._options.latest(name);
    this._loading.set(name, loading);
    void loading.catch(() => null).finally(() => this._loading.delete(name));
    return loading;
  }

  private _deliveries(): Delivery[] {
    return [...this._channels.values()].flatMap(({ deliveries }) => [...deliveries]);
  }
}
