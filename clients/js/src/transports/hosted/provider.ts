/** What a hosted provider's SDK is to us, and what we are to it. */

import type { Fields } from '../../messages.js';

/** One connection by an SDK, which is let go of when it is lost: the machine knows when to try again. */
export interface Provider {
  /** Ask for a channel; `subscribed` or `refused` answers. */
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  /** Have the other side show that it is there: `alive` answers. */
  ping(): void;
  /** There is a fresh token, for whoever has to show it before it is asked. */
  renew(): void;
  close(): void;
}

export interface ProviderHandlers {
  connected(): void;
  /** Whatever the SDK would do about it itself. */
  lost(reason: string): void;
  /** Anything at all was heard. */
  alive(): void;
  /** From now on this channel's events come. */
  subscribed(channel: string): void;
  /** `status` is that of the answer of `auth/{provider}`, or 500. */
  refused(channel: string, status: number, message: string): void;
  /** What ought to be one of our frames, parsed. */
  received(frame: unknown): void;
}

export interface ProviderTools {
  /** The descriptor's `options`. */
  readonly options: Fields;
  /** Where the provider's client asks for permission. */
  readonly authUrl: string;
  /** Time during which channels are collected into one request for a token, in milliseconds. */
  readonly tokenBatchDelay: number;
  /** The bearer token to ask with. */
  token(): string;
  /** What is wanted at this moment, for whoever has to know before it connects. */
  channels(): string[];
}

/** Loads the SDK, and begins to connect; rejects where there is no SDK. */
export type OpenProvider = (tools: ProviderTools, handlers: ProviderHandlers) => Promise<Provider>;
