/**
 * Public names of `realtime-bridge/pusher`.
 *
 * @module realtime-bridge/pusher
 */

export { BridgePusher } from './bridge-pusher.js';
export type { BridgeConnection, PusherState } from './bridge-pusher.js';
export type { BridgeChannel, Members } from './bridge-channel.js';
export type { Callbacks, EventCallback, GlobalCallback } from './callbacks.js';
