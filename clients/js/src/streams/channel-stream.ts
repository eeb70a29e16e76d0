/** Stream of a channel, as a page shows it. */

import { onNextFrame } from '../browser/frames.js';
import { Store } from '../browser/store.js';
import type { Client, ReadableStore, RealtimeEvent, Stream, StreamOptions, StreamState } from '../types.js';
import { foldGroup, foldStream, streamKey, UNKNOWN_STREAM } from './fold.js';
import { newestStream } from './newest-stream.js';

/** Part of a client that a stream uses. */
type StreamClient = Pick<Client, 'subscribe' | 'channel' | 'stopStream'>;

/** Subscribed from the first listener of its state to the last: creating it contacts nothing. */
export class ChannelStream<Item> implements Stream<Item> {
  readonly state: ReadableStore<StreamState<Item>>;
  private readonly _store = new Store<StreamState<Item>>(UNKNOWN_STREAM);
  /** State after the last event; listeners get it in the next frame. */
  private _folded: StreamState<Item> = UNKNOWN_STREAM;
  /** Id of the stream that is subscribed. */
  private _subscribed: string | null = null;
  private _releases: (() => void)[] = [];
  private _unsubscribe = (): void => {};
  private _cancelFrame: (() => void) | null = null;

  constructor(
    private readonly _client: StreamClient,
    private readonly _channel: string,
    private readonly _id?: string | null,
    private readonly _options: StreamOptions = {},
  ) {
    this.state = { get: this._store.get, subscribe: (listener) => this._watch(listener) };
  }

  async stop(): Promise<void> {
    const { id, attempt } = this._folded;
    const stream = id ?? this._id;
    if (stream) await this._client.stopStream(this._channel, stream, attempt);
  }

  close(): void {
    for (const release of this._releases) release();
    this._releases = [];
    this._unsubscribe();
    this._subscribed = null;
    this._cancelFrame?.();
    this._cancelFrame = null;
  }

  private _watch(listener: () => void): () => void {
    if (!this._releases.length) this._open();
    const end = this._store.subscribe(listener);
    return () => {
      end();
      if (!this._store.isWatched) this.close();
    };
  }

  private _open(): void {
    this._releases = [this._client.channel(this._channel).subscribe(() => this._showSoon())];
    if (this._id) this._subscribe(this._id);
    else this._releases.push(this._client.subscribe(this._channel, {
      ...this._options,
      onSnapshot: ({ events }) => this._follow(events),
      onEvent: (event) => this._follow([event]),
    }));
  }

  /** Subscribe to the stream that began last. */
  private _follow(events: readonly RealtimeEvent[]): void {
    const newest = newestStream(events);
    if (newest !== null) this._subscribe(newest);
  }

  private _subscribe(id: string): void {
    if (id === this._subscribed) return;
    this._subscribed = id;
    this._unsubscribe();
    const snapshotKey = streamKey(id);
    this._unsubscribe = this._client.subscribe(this._channel, {
      ...this._options,
      snapshotKey,
      onSnapshot: ({ events }) => this._fold(foldGroup(this._folded, events)),
      onEvent: (event) => {
        if (event.key === snapshotKey) this._fold(foldStream(this._folded, event));
      },
    });
  }

  private _fold(folded: StreamState<Item>): void {
    this._folded = folded;
    this._showSoon();
  }

  /** Show the state in the next frame: tokens arrive faster than a page can render. */
  private _showSoon(): void {
    this._cancelFrame ??= onNextFrame(() => {
      this._cancelFrame = null;
      const { phase, error } = this._client.channel(this._channel).get();
      this._store.merge({ ...this._folded, phase, error: this._folded.error ?? error });
    });
  }
}
