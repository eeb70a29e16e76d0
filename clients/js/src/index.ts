/**
 * Public names of `realtime-bridge`.
 *
 * @module realtime-bridge
 */

export { HybridClient } from './hybrid-client.js';
export { HybridUpdates } from './hybrid-updates.js';
export type { FetchData } from './http/fetcher.js';
export type { HybridUpdatesOptions, UpdatesState } from './hybrid-updates.js';
export { ReconnectingSocket } from './browser/reconnecting-socket.js';
export type { SocketOptions, SocketState } from './browser/reconnecting-socket.js';
export { Store } from './browser/store.js';
export { foldStream } from './streams/fold.js';
export { userChannel } from './user-channel.js';
export type * from './payloads.js';
export type * from './types.js';
