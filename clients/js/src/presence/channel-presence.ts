/** Members of a channel, as a page shows them. */

import { onNextFrame } from '../browser/frames.js';
import { guarded } from '../browser/report.js';
import { Store } from '../browser/store.js';
import type { Client, Presence, PresenceOptions, PresenceState, ReadableStore } from '../types.js';

export const NO_MEMBERS: PresenceState = { members: [], count: 0, phase: 'syncing', error: null };

/** Subscribed from the first listener of its state to the last; meanwhile its own user is present. */
export class ChannelPresence implements Presence {
  readonly state: ReadableStore<PresenceState>;
  private readonly _store = new Store(NO_MEMBERS);
  private _end: (() => void) | null = null;

  constructor(
    private readonly _client: Pick<Client, 'subscribe' | 'channel'>,
    private readonly _channel: string,
    private readonly _options: PresenceOptions = {},
  ) {
    this.state = { get: this._store.get, subscribe: (listener) => this._watch(listener) };
  }

  close(): void {
    this._end?.();
    this._end = null;
  }

  private _watch(listener: () => void): () => void {
    this._end ??= this._open();
    const end = this._store.subscribe(listener);
    return () => {
      end();
      if (!this._store.isWatched) this.close();
    };
  }

  /** Load the rest, as most pages show no members. */
  private _open(): () => void {
    let [end, ended] = [() => {}, false];
    import('./presence-follower.js').then(
      ({ followPresence }) => {
        const show = (state: PresenceState): void => this._store.set(state);
        if (!ended) end = followPresence(this._client, this._channel, this._options, show, { guarded, onNextFrame });
      },
      (error: unknown) => {
        if (!ended) this._store.merge({ phase: 'stale', error: String(error) });
      },
    );
    return () => {
      ended = true;
      end();
    };
  }
}
