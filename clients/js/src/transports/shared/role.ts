/** Roles of a page that shares a connection. */

import type { ClientMessage, ServerMessage } from '../../messages.js';
import type { TransportTools } from '../transport.js';
import type { TabMessage } from './tab-messages.js';

/** Page with its session, as its role sees it. */
export interface Page {
  readonly id: string;
  readonly name: string;
  readonly tools: TransportTools;
  /** Message by which the session connected; null: it has not yet. */
  readonly connect: ConnectMessage | null;
  post(message: TabMessage): void;
  /** Inform the session that the connection is open. */
  open(): void;
  /** Inform the session that the server accepts it: again after a change of leaders, with all its requests. */
  welcome(message: ServerMessage): void;
  /** Pass a message to the session. */
  deliver(message: ServerMessage): void;
  /** Lead instead of a page that is silent. */
  replace(): void;
  /** End the transport, and inform the session. */
  fail(code: number, reason: string): void;
}

export type ConnectMessage = ClientMessage & { readonly type: 'connect' };

export interface Role {
  /** Handle a message of this page's session. */
  send(message: ClientMessage): void;
  /** Handle a message of another tab. */
  receive(message: TabMessage): void;
  close(code: number): void;
}
