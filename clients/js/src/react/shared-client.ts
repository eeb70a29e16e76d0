/** Client shared by its users: it starts with the first of them, and stops after the last. */

import { ChannelPresence } from '../presence/channel-presence.js';
import { ChannelStream } from '../streams/channel-stream.js';
import type {
  ChannelHandlers,
  ChannelState,
  Client,
  ClientOptions,
  ClientState,
  Presence,
  PresenceOptions,
  ReadableStore,
  Stream,
  StreamOptions,
} from '../types.js';
import { NOT_SUBSCRIBED, STARTING } from './initial.js';

/** Shared client. A subscription to its state or to a channel makes a user; before the first, it contacts nothing. */
export class SharedClient implements Client {
  readonly state: ReadableStore<ClientState> = this._shared((client) => client.state, STARTING);
  private _inner: Client | null = null;
  private _users = 0;
  private _options: ClientOptions = {};

  constructor(private readonly _make: (options: ClientOptions) => Client) {}

  /** Set options for the next start; a running client keeps its own. */
  prefer(options: ClientOptions): void {
    if (!this._inner) this._options = { ...this._options, ...options };
  }

  /** Do nothing: the first user starts it. */
  start(): void {}

  /** Do nothing: it may have other users, and stops after the last. */
  stop(): void {}

  retry(): void {
    this._inner?.retry();
  }

  refresh(): void {
    this._inner?.refresh();
  }

  subscribe(channel: string, handlers: ChannelHandlers): () => void {
    return this._use((client) => client.subscribe(channel, handlers));
  }

  channel(name: string): ReadableStore<ChannelState> {
    return this._shared((client) => client.channel(name), NOT_SUBSCRIBED);
  }

  stream<Item = string>(channel: string, id?: string | null, options?: StreamOptions): Stream<Item> {
    return new ChannelStream<Item>(this, channel, id, options);
  }

  presence(channel: string, options?: PresenceOptions): Presence {
    return new ChannelPresence(this, channel, options);
  }

  stopStream(channel: string, stream: string, attempt?: string | null): Promise<void> {
    return this._request((client) => client.stopStream(channel, stream, attempt));
  }

  cancelJob(channel: string, job: string, reason?: string): Promise<void> {
    return this._request((client) => client.cancelJob(channel, job, reason));
  }

  answerJob(channel: string, job: string, question: string, value: unknown): Promise<void> {
    return this._request((client) => client.answerJob(channel, job, question, value));
  }

  /** Use the client until its request is done. */
  private async _request(send: (client: Client) => Promise<void>): Promise<void> {
    let sent: Promise<void> | undefined;
    const release = this._use((client) => {
      sent = send(client);
      return () => {};
    });
    await sent?.finally(release);
  }

  private _shared<Value>(pick: (client: Client) => ReadableStore<Value>, initial: Value): ReadableStore<Value> {
    return {
      get: () => (this._inner ? pick(this._inner).get() : initial),
      subscribe: (listener) => this._use((client) => pick(client).subscribe(listener)),
    };
  }

  private _use(begin: (client: Client) => () => void): () => void {
    this._users += 1;
    const end = begin(this._running());
    let active = true;
    return () => {
      if (!active) return;
      active = false;
      end();
      this._release();
    };
  }

  private _running(): Client {
    if (!this._inner) {
      this._inner = this._make(this._options);
      this._inner.start();
    }
    return this._inner;
  }

  /** Release it later: StrictMode and page changes unsubscribe and subscribe again at once. */
  private _release(): void {
    this._users -= 1;
    if (this._users === 0) setTimeout(() => this._rest(), 0);
  }

  private _rest(): void {
    if (this._users > 0) return;
    this._inner?.stop();
    this._inner = null;
  }
}
