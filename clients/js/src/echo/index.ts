/**
 * Public names of `realtime-bridge/echo`.
 *
 * @module realtime-bridge/echo
 */

export { EchoConnector } from './echo-connector.js';
export type { EchoConnectorOptions } from './echo-connector.js';
