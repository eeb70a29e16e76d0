'use client';
/** `useChannel`: a channel's events, each exactly one call. */

import { useEffect, useMemo, useRef } from 'react';
import type { ChannelHandlers, ChannelState, Position } from '../types.js';
import { NOT_SUBSCRIBED } from './initial.js';
import { useClient } from './provider.js';
import { useLatest, useStore } from './use-store.js';

export interface ChannelOptions extends Pick<ChannelHandlers, 'onReset' | 'onSnapshot' | 'keep'> {
  /** Where the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
}

/**
 * Listens to `channel` while the component is mounted, and returns its phase, position and error.
 *
 * `onEvent` is called outside rendering, once for each event and in order: keep state in it by an updater
 * (`setList((list) => [...list, event])`), and nothing is lost to batching. It may be another function at
 * every render. A component that React hides and shows again goes on after the last event it was called with,
 * where it alone listens to the channel.
 */
export function useChannel(
  channel: string,
  onEvent?: ChannelHandlers['onEvent'],
  options: ChannelOptions = {},
): ChannelState {
  const client = useClient(options.endpoint);
  const store = useMemo(() => client.channel(channel), [client, channel]);
  const latest = useLatest({ ...options, onEvent });
  const left = useRef<{ channel: string; position: Position | null } | null>(null);
  const [keep, wantsSnapshot] = [options.keep === true, options.onSnapshot !== undefined];
  useEffect(() => {
    let position: Position | null = null;
    const handlers: ChannelHandlers = {
      keep,
      onEvent: (event) => {
        position = event.position ? { ...event.position, id: event.id } : null;
        return latest.current.onEvent?.(event);
      },
      onReset: (reset) => {
        position = null;
        return latest.current.onReset?.(reset);
      },
    };
    // A snapshot makes up for whatever was missed.
    if (wantsSnapshot) handlers.onSnapshot = (snapshot) => latest.current.onSnapshot?.(snapshot);
    else if (left.current?.channel === channel && left.current.position) handlers.position = left.current.position;
    const end = client.subscribe(channel, handlers);
    return () => {
      left.current = { channel, position: position ?? store.get().position };
      end();
    };
  }, [client, channel, store, latest, keep, wantsSnapshot]);
  return useStore(store, NOT_SUBSCRIBED);
}
