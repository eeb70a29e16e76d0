/**
 * Public names of `realtime-bridge/ai`.
 *
 * @module realtime-bridge/ai
 */

export { BridgeChatTransport } from './bridge-chat-transport.js';
export type { BridgeChatTransportOptions } from './bridge-chat-transport.js';
export type { StreamAddress } from '../streams/find-stream.js';
export { StreamRestartedError } from '../streams/stream-restarted-error.js';
