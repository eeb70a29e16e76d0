/** Permissions of Pusher's channels, requested from the bridge for several channels at once. */

import type { Fields } from '../../messages.js';
import type { ProviderTools } from './provider.js';

const FORBIDDEN = 403;
const INTERNAL_ERROR = 500;

/** Channels of one request; the server accepts 200. */
const CHANNELS_PER_REQUEST = 100;

/** Answer of the bridge. */
interface Permitted {
  readonly channels: Record<string, Fields>;
  /** Channels whose rule failed. */
  readonly failed: string[];
  readonly user: Fields;
}

/** Receives the permission of a channel, or the HTTP status of the refusal. */
export type Answer = (status: number | null, permission: Fields | null) => void;

export class Permissions {
  /** Sign-in of the user, which came with the last permissions. */
  signIn: Fields | null = null;
  private readonly _waiting = new Map<string, Answer>();
  private readonly _released = new AbortController();
  private _timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _tools: ProviderTools,
    /** Called when `signIn` is known. */
    private readonly _signedIn: () => void,
  ) {}

  /** Request the permission of a channel, by its name at Pusher, with those of other channels. */
  request(channel: string, socket: string, answer: Answer): void {
    this._waiting.set(channel, answer);
    this._timer ??= setTimeout(() => this._flush(socket), this._tools.tokenBatchDelay);
  }

  release(): void {
    clearTimeout(this._timer);
    this._released.abort();
  }

  private _flush(socket: string): void {
    this._timer = undefined;
    const waiting = [...this._waiting];
    this._waiting.clear();
    while (waiting.length) void this._fetch(waiting.splice(0, CHANNELS_PER_REQUEST), socket);
  }

  private async _fetch(waiting: [string, Answer][], socket: string): Promise<void> {
    const names = waiting.map(([name]) => name);
    const body = { socket_id: socket, channel_names: names.join(' ') };
    try {
      const options = { body, token: this._tools.token(), signal: this._released.signal };
      const response = await this._tools.request(this._tools.authURL, options);
      const { channels, failed, user } = (await response.json()) as Permitted;
      for (const [name, answer] of waiting) {
        if (channels[name]) answer(null, channels[name]);
        else answer(failed.includes(name) ? INTERNAL_ERROR : FORBIDDEN, null);
      }
      if (!this.signIn) {
        this.signIn = user;
        this._signedIn();
      }
    } catch (error) {
      // Not by pusher-js, to which each 403 on the way is a refusal of the bridge.
      const { status } = error as { status?: number | null };
      for (const [, answer] of waiting) answer(status ?? INTERNAL_ERROR, null);
    }
  }
}
