/** States before a client exists; a server renders the same, so that hydration finds no difference. */

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
