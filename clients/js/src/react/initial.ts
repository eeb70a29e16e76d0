/** What is shown before a client has said anything, on a server too, so that hydration finds what was sent. */

import type { ClientState } from '../types.js';

export { NOT_SUBSCRIBED } from '../channels/subscription-set.js';

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
