'use client';
/**
 * Public names of `realtime-bridge/react`.
 *
 * @module realtime-bridge/react
 */

export { ConnectionBadge } from './badge.js';
export type { ConnectionBadgeProps } from './badge.js';
export { reduceJobs } from './jobs.js';
export type { Job, Jobs, JobState } from './jobs.js';
export { RealtimeProvider, useClient } from './provider.js';
export type { RealtimeProviderProps } from './provider.js';
export { useChannel } from './use-channel.js';
export type { ChannelOptions } from './use-channel.js';
export { useConnectionStatus } from './use-connection-status.js';
export type { ConnectionOptions } from './use-connection-status.js';
export { useHybridUpdates } from './use-hybrid-updates.js';
export type { HybridUpdatesResult } from './use-hybrid-updates.js';
export { useJobControl } from './use-job-control.js';
export type { JobControl } from './use-job-control.js';
export { usePresence } from './use-presence.js';
export type { UsePresenceOptions } from './use-presence.js';
export { useStream } from './use-stream.js';
export type { StreamResult, UseStreamOptions } from './use-stream.js';
export { useWebSocket } from './use-web-socket.js';
export type { WebSocketResult } from './use-web-socket.js';
export { ProcessingWidget } from './widget.js';
export type { ProcessingWidgetProps } from './widget.js';
export type { StatusText, Tone } from './status-text.js';
export type { JobRefusal, WidgetTexts } from './widget-texts.js';
