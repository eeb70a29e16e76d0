/** Connector of Laravel Echo. */

import Echo from 'laravel-echo';
import type { Client } from '../types.js';
import { BridgePusher } from '../pusher/bridge-pusher.js';

/** Options of Echo, with a client of this package. */
export interface EchoConnectorOptions {
  readonly client: Client;
  readonly [name: string]: unknown;
}

/**
 * Connector for `new Echo({ broadcaster: EchoConnector, client })`: Echo's own one for Pusher, over a
 * `BridgePusher` of that client.
 */
export class EchoConnector {
  constructor({ client, ...options }: EchoConnectorOptions) {
    const pusher = new BridgePusher(client) as never;
    // Echo exports no connector of its own, and an object of it has one.
    return new Echo({ ...options, broadcaster: 'pusher', client: pusher, withoutInterceptors: true }).connector as never;
  }
}
