'use client';
/** `useWebSocket`: a WebSocket to any server, which comes back by itself. */

import { useEffect, useMemo } from 'react';
import { CLOSED, ReconnectingSocket, type SocketOptions, type SocketState } from '../browser/reconnecting-socket.js';
import { Store } from '../browser/store.js';
import { useLatest, useStore } from './use-store.js';

type Message = Parameters<ReconnectingSocket['send']>[0];

export interface WebSocketResult extends SocketState {
  /** Send now; false when there is no open socket. Objects are sent as JSON. */
  readonly send: (message: Message) => boolean;
  /** Begin anew at once, whatever was given up. */
  readonly reconnect: () => void;
  /** End it; only `reconnect` opens it again. */
  readonly close: (code?: number, reason?: string) => void;
}

const NOWHERE = new Store(CLOSED);

/**
 * Connects to `url` while the component is mounted; `null` connects to nothing.
 *
 * `lastMessage` is for showing: React joins updates, so two quick messages may render once. `onMessage` gets
 * every one. Another `url` or another value among the options makes another connection; another handler does not.
 */
export function useWebSocket(url: string | URL | null, options: SocketOptions = {}): WebSocketResult {
  const latest = useLatest(options.onMessage);
  const address = url === null ? null : String(url);
  const same = JSON.stringify({ ...options, onMessage: undefined });
  const socket = useMemo(() => {
    const onMessage = (message: MessageEvent): void => latest.current?.(message);
    return address === null ? null : new ReconnectingSocket(address, { ...options, onMessage });
  }, [address, same, latest]);
  useEffect(() => {
    socket?.start();
    return () => socket?.close();
  }, [socket]);
  const calls = useMemo(() => callsOf(socket), [socket]);
  return { ...useStore(socket?.state ?? NOWHERE, CLOSED), ...calls };
}

function callsOf(socket: ReconnectingSocket | null): Omit<WebSocketResult, keyof SocketState> {
  return {
    send: (message) => socket?.send(message) ?? false,
    reconnect: () => socket?.reconnect(),
    close: (code, reason) => socket?.close(code, reason),
  };
}
