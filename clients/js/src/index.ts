/** `import { HybridClient } from 'realtime-bridge'` */

export { HybridClient } from './client.js';
export { HybridUpdates } from './updates.js';
export type { FetchData, HybridUpdatesOptions, UpdatesState } from './updates.js';
export { ReconnectingSocket } from './socket.js';
export type { SocketOptions, SocketState } from './socket.js';
export { Store } from './store.js';
export type * from './payloads.js';
export type * from './types.js';
