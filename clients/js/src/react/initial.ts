/** What is shown before a client has said anything, on a server too, so that hydration finds what was sent. */

import type { ChannelState, ClientState } from '../types.js';

export const STARTING: ClientState = {
  kind: 'starting',
  label: '',
  reason: null,
  mode: 'IDLE',
  transport: null,
  updateSource: 'polling',
  websocketStatus: 'disconnected',
  user: null,
  client: '',
  generation: 0,
  lastSync: null,
  attempts: 0,
  transitions: [],
};

export const NOT_SUBSCRIBED: ChannelState = { phase: 'syncing', position: null, error: null };
