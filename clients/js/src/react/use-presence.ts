'use client';
/** Hook for the members of a channel. */

import { useMemo } from 'react';
import { Store } from '../browser/store.js';
import { NO_MEMBERS } from '../presence/channel-presence.js';
import type { Presence, PresenceOptions, PresenceState } from '../types.js';
import { useClient } from './provider.js';
import { useLatest, useStore } from './use-store.js';

export interface UsePresenceOptions extends PresenceOptions {
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
}

const NOWHERE: Presence = { state: new Store(NO_MEMBERS), close: () => {} };

/**
 * Return the members of `channel`, and make this page's user present while the component is mounted. `null`, `undefined` and
 * an empty channel read nothing yet.
 */
export function usePresence(
  channel: string | null | undefined,
  { endpoint, keepInBackground = false, ...handlers }: UsePresenceOptions = {},
): PresenceState {
  const client = useClient(endpoint);
  const latest = useLatest(handlers);
  const presence = useMemo(() => {
    if (!channel) return NOWHERE;
    return client.presence(channel, {
      keepInBackground,
      onJoin: (member) => latest.current.onJoin?.(member),
      onLeave: (member) => latest.current.onLeave?.(member),
    });
  }, [client, channel, keepInBackground, latest]);
  return useStore(presence.state, NO_MEMBERS);
}
