'use client';
/** `useHybridUpdates`: one user's data, kept up to date by push or by polling. */

import { useCallback, useEffect, useInsertionEffect, useMemo } from 'react';
import { HybridUpdates, LOADING, type FetchData, type HybridUpdatesOptions, type UpdatesState } from '../hybrid-updates.js';
import { fingerprint, lateBound } from './late-bound.js';
import { useClient } from './provider.js';
import { SharedClient } from './shared-client.js';
import { useLatest, useStore } from './use-store.js';

export interface HybridUpdatesResult<Data> extends UpdatesState<Data> {
  /** Fetch now; resolves when the data is there. */
  readonly refresh: () => Promise<void>;
}

/**
 * Returns `fetchData`'s data and keeps it up to date with the events of `user-{userId}`.
 *
 * Without `reduce`, each burst of events triggers one `fetchData`, and polling is `fetchData`. With
 * `reduce(data, event)` the events change the data, and `fetchData` is called at the start and after a reset.
 * Intervals are in milliseconds. Functions may be others at every render; other values among the options begin anew.
 */
export function useHybridUpdates<Data>(
  fetchData: FetchData<Data> | null | undefined,
  userId: string | number,
  options: HybridUpdatesOptions<Data> = {},
): HybridUpdatesResult<Data> {
  const shared = useClient(options.endpoint);
  const client = options.client ?? shared;
  const given = { ...options, fetchData };
  const latest = useLatest(given);
  const same = fingerprint(given);
  const updates = useMemo(() => {
    const late = lateBound(given, () => latest.current);
    return new HybridUpdates<Data>(late.fetchData, userId, { ...late, client });
  }, [client, userId, same, latest]);
  useInsertionEffect(() => {
    if (client instanceof SharedClient) client.prefer(lateBound(given, () => latest.current));
  }, [client, same, latest]);
  useEffect(() => {
    updates.start();
    return () => updates.stop();
  }, [updates]);
  const refresh = useCallback(() => updates.refresh(), [updates]);
  return { ...useStore<UpdatesState<Data>>(updates.state, LOADING), refresh };
}
