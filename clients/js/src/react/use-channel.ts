'use client';
/** Hook for a channel's events: one call for each. */

import { useEffect, useMemo, useRef } from 'react';
import { Store } from '../browser/store.js';
import type { ChannelHandlers, ChannelState, Position } from '../types.js';
import { NOT_SUBSCRIBED } from './initial.js';
import { useClient } from './provider.js';
import { useLatest, useStore } from './use-store.js';

export interface ChannelOptions extends Pick<ChannelHandlers, 'onReset' | 'onError' | 'onSnapshot' | 'keepInBackground'> {
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
}

const NO_CHANNEL = new Store(NOT_SUBSCRIBED);

/**
 * Subscribe to `channel` while the component is mounted, and return its phase, position and error. `null`, `undefined`
 * and an empty name subscribe to nothing yet.
 *
 * `onEvent` is called outside rendering, once for each event and in order. Change state in it by an
 * updater (`setList((list) => [...list, event])`), so that React's batching drops nothing. It may change
 * with each render. A component that React hides and shows again resumes after its last event, if it is
 * the only subscriber of the channel.
 */
export function useChannel(
  channel: string | null | undefined,
  onEvent?: ChannelHandlers['onEvent'],
  options: ChannelOptions = {},
): ChannelState {
  const client = useClient(options.endpoint);
  const store = useMemo(() => (channel ? client.channel(channel) : NO_CHANNEL), [client, channel]);
  const latest = useLatest({ ...options, onEvent });
  const last = useRef<{ channel: string; position: Position | null } | null>(null);
  const [keepInBackground, hasSnapshot] = [options.keepInBackground === true, options.onSnapshot !== undefined];
  useEffect(() => {
    if (!channel) return undefined;
    let position: Position | null = null;
    const handlers: ChannelHandlers = {
      keepInBackground,
      onEvent: (event) => {
        position = event.position ? { ...event.position, id: event.id } : null;
        return latest.current.onEvent?.(event);
      },
      onReset: (reset) => {
        position = null;
        return latest.current.onReset?.(reset);
      },
      onError: (error) => latest.current.onError?.(error),
    };
    // A snapshot contains what was missed, so that it needs no position.
    if (hasSnapshot) handlers.onSnapshot = (snapshot) => latest.current.onSnapshot?.(snapshot);
    else if (last.current?.channel === channel && last.current.position) handlers.position = last.current.position;
    const end = client.subscribe(channel, handlers);
    return () => {
      last.current = { channel, position: position ?? store.get().position };
      end();
    };
  }, [client, channel, store, latest, keepInBackground, hasSnapshot]);
  return useStore(store, NOT_SUBSCRIBED);
}
