'use client';
/** Hook for the data of one user, updated by push or by polling. */

import { useCallback, useEffect, useInsertionEffect, useMemo } from 'react';
import type { FetchData } from '../http/fetcher.js';
import { HybridUpdates, LOADING, type HybridUpdatesOptions, type UpdatesState } from '../hybrid-updates.js';
import { fingerprint, lateBound } from './late-bound.js';
import { useClient } from './provider.js';
import { SharedClient } from './shared-client.js';
import { useLatest, useStore } from './use-store.js';

export interface HybridUpdatesResult<Data> extends UpdatesState<Data> {
  /** Fetch now; resolves when the data is there. */
  readonly refresh: () => Promise<void>;
}

/**
 * Return the data of `fetchData`, updated by the events of `userChannel(userId)`. `null`, `undefined` and an empty id
 * load nothing yet.
 *
 * Without `reduce`, each burst of events leads to one `fetchData`, and polling calls `fetchData`. With
 * `reduce(data, event)` the events change the data, and `fetchData` is called at the start and after a
 * reset. Intervals are in milliseconds. Functions may change with each render; another value of an
 * option starts again.
 */
export function useHybridUpdates<Data>(
  fetchData: FetchData<Data> | null | undefined,
  userId: string | number | null | undefined,
  options: HybridUpdatesOptions<Data> = {},
): HybridUpdatesResult<Data> {
  const shared = useClient(options.endpoint);
  const client = options.client ?? shared;
  const all = { ...options, fetchData };
  const latest = useLatest(all);
  const identity = fingerprint(all);
  const updates = useMemo(() => {
    const late = lateBound(all, () => latest.current);
    return new HybridUpdates<Data>(late.fetchData, userId, { ...late, client });
  }, [client, userId, identity, latest]);
  useInsertionEffect(() => {
    if (client instanceof SharedClient) client.prefer(lateBound(all, () => latest.current));
  }, [client, identity, latest]);
  useEffect(() => {
    updates.start();
    return () => updates.stop();
  }, [updates]);
  const refresh = useCallback(() => updates.refresh(), [updates]);
  return { ...useStore<UpdatesState<Data>>(updates.state, LOADING), refresh };
}
