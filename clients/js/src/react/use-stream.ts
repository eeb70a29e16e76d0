'use client';
/** Hook for a stream of items from a worker. */

import { useCallback, useMemo } from 'react';
import { Store } from '../browser/store.js';
import { UNKNOWN_STREAM } from '../streams/fold.js';
import type { Stream, StreamOptions, StreamState } from '../types.js';
import { useClient } from './provider.js';
import { useStore } from './use-store.js';

export interface UseStreamOptions extends StreamOptions {
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
}

export interface StreamResult<Item> extends StreamState<Item> {
  /** Stop the stream for all its readers; resolves when it is stopped, or had ended. */
  readonly stop: () => Promise<void>;
}

const NO_STREAM: Stream<never> = {
  state: new Store(UNKNOWN_STREAM),
  stop: async () => {},
  close: () => {},
};

/**
 * Return the state of a stream of `channel`, and update it while the component is mounted; it renders once
 * in an animation frame at most. Without `id` it is the stream that began last. `null`, `undefined` and an
 * empty channel read nothing yet.
 */
export function useStream<Item = string>(
  channel: string | null | undefined,
  id?: string | null,
  { endpoint, keepInBackground = false }: UseStreamOptions = {},
): StreamResult<Item> {
  const client = useClient(endpoint);
  const stream = useMemo(
    () => (channel ? client.stream<Item>(channel, id, { keepInBackground }) : NO_STREAM),
    [client, channel, id, keepInBackground],
  );
  const stop = useCallback(() => stream.stop(), [stream]);
  return { ...useStore<StreamState<Item>>(stream.state, UNKNOWN_STREAM), stop };
}
