/** Transports: connections by which a server pushes messages. */

import type { Positions } from '../http/bridge-http.js';
import type { RouteName } from '../http/descriptor.js';
import type { HTTPRequest } from '../http/request.js';
import type { Timing } from '../machine/timing.js';
import type { ClientMessage, Fields, ServerMessage } from '../messages.js';

/** Connection to a server. */
export interface Transport {
  send(message: ClientMessage): void;
  /** Close the connection; no handler is called afterwards. */
  close(code: number): void;
}

export interface TransportHandlers {
  opened(): void;
  message(message: ServerMessage): void;
  /** Called at most once: the connection failed, or the server closed it. */
  closed(code: number, reason: string): void;
}

/**
 * Services of the client for a transport. A transport that is loaded on demand gets them as
 * arguments, so that its file contains none of this code again.
 */
export interface TransportTools {
  readonly timing: Timing;
  /** Return the URL of a route; throw where the server has no such route. */
  url(name: RouteName): string;
  request(url: string, options: HTTPRequest): Promise<Response>;
  parse(text: string): ServerMessage;
  /** Positions of the channels that the transport carries. */
  positions(): Positions;
  /** Largest number of channels in a poll. */
  channelLimit(): number;
  /** Return the token of the last descriptor. */
  token(): string;
  /** Return the provider's options of the last descriptor. */
  options(): Fields;
  guarantee(): 'log' | 'signal';
  /** Return the channel on which the bridge announces that this user's access was revoked, if there is one. */
  control(): string | null;
  isHidden(): boolean;
}

/** Opens a transport; throws where it cannot be opened at all. */
export type OpenTransport = (tools: TransportTools, handlers: TransportHandlers) => Transport;
