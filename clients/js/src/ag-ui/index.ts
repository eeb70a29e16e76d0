/**
 * Public names of `realtime-bridge/ag-ui`.
 *
 * @module realtime-bridge/ag-ui
 */

export { BridgeAgent } from './bridge-agent.js';
export type { BridgeAgentConfig } from './bridge-agent.js';
export { StreamRestartedError } from '../streams/stream-restarted-error.js';
