'use client';
/** Hook for the connection status. */

import type { ClientState } from '../types.js';
import { STARTING } from './initial.js';
import { useClient } from './provider.js';
import { useStore } from './use-store.js';

export interface ConnectionOptions {
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
}

/** Return the state of the page's client; on a server, `starting`. */
export function useConnectionStatus({ endpoint }: ConnectionOptions = {}): ClientState {
  return useStore(useClient(endpoint).state, STARTING);
}
