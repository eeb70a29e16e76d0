/** Interface between a hosted provider's SDK and its transport. */

import type { HTTPRequest } from '../../http/request.js';
import type { Fields } from '../../messages.js';

/** Member of a channel, as the provider counts it: a user may have several keys. */
export interface ProviderMember {
  readonly key: string;
  readonly user: string;
  /** Fields that the application adds to the user's id. */
  readonly info: unknown;
}

/** Connection by an SDK. It is closed when it is lost: the machine decides when to connect again. */
export interface Provider {
  /** Subscribe to a channel; the provider calls `subscribed` or `refused`, and `members` for a presence channel. */
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  /** Request a sign of life; the provider calls `alive`. */
  ping(): void;
  /** Handle a fresh token of ours. */
  renew(): void;
  close(): void;
}

export interface ProviderHandlers {
  connected(): void;
  /** Handle a lost connection, whatever the SDK would do about it. */
  lost(reason: string): void;
  /** Handle any sign of life. */
  alive(): void;
  /** Handle the start of a channel's events. */
  subscribed(channel: string): void;
  /**
   * Handle a channel that is refused, or that was subscribed and failed. `status` is that of the
   * response of `auth/{provider}`; where the provider itself refuses, 503.
   */
  refused(channel: string, status: number, message: string): void;
  /** Handle all members of a presence channel: from now on the provider reports changes. */
  members(channel: string, members: readonly ProviderMember[]): void;
  /** Handle a member who came, or whose key ended. */
  changed(channel: string, member: ProviderMember, isPresent: boolean): void;
  /** Handle the parsed data of a provider's message. */
  received(data: unknown): void;
}

export interface ProviderTools {
  /** `options` of the descriptor. */
  readonly options: Fields;
  /** URL at which the provider's client requests authorization. */
  readonly authURL: string;
  /** Time during which channels are collected into one request for a token, in milliseconds. */
  readonly tokenBatchDelay: number;
  /** Send a request; an error has the `status`, null where something other than the bridge denies access. */
  request(url: string, options: HTTPRequest): Promise<Response>;
  /** Return the bearer token for `authURL`. */
  token(): string;
  /** Return the subscribed channels, for a provider that needs them before it connects. */
  channels(): string[];
}

/** Start of the names of presence channels, which have the members of the channel after it. */
export const PRESENCE = '@realtime.presence.';

/** Loads the SDK and starts to connect; rejects where the SDK is missing. */
export type OpenProvider = (tools: ProviderTools, handlers: ProviderHandlers) => Promise<Provider>;
