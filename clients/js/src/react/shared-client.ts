/** One client for all who use it: it starts with the first of them, and stops after the last. */

import type { ChannelHandlers, ChannelState, Client, ClientOptions, ClientState, ReadableStore } from '../types.js';
import { NOT_SUBSCRIBED, STARTING } from './initial.js';

/** Whoever watches its state or listens to a channel uses it; nothing is contacted before. */
export class SharedClient implements Client {
  readonly state: ReadableStore<ClientState> = this._shared((client) => client.state, STARTING);
  private _inner: Client | null = null;
  private _users = 0;
  private _options: ClientOptions = {};

  constructor(private readonly _make: (options: ClientOptions) => Client) {}

  /** Ask for options: those asked for before the first use count, as a running client keeps its own. */
  prefer(options: ClientOptions): void {
    if (!this._inner) this._options = { ...this._options, ...options };
  }

  /** Nothing: its users start it. */
  start(): void {}

  /** Nothing: others may be using it, and the last one to leave stops it. */
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

  private _shared<Value>(pick: (client: Client) => ReadableStore<Value>, initial: Value): ReadableStore<Value> {
    return {
      get: () => (this._inner ? pick(this._inner).get() : initial),
      subscribe: (listener) => this._use((client) => pick(client).subscribe(listener)),
    };
  }

  private _use(begin: (client: Client) => () => void): () => void {
    this._users += 1;
    const end = begin(this._running());
    let used = true;
    return () => {
      if (!used) return;
      used = false;
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

  /** Not at once: StrictMode, and a change of page, leave and come back in the same breath. */
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
