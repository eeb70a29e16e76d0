'use client';
/** Hook for a WebSocket to any server that reconnects by itself. */

import { useEffect, useMemo } from 'react';
import { CLOSED, ReconnectingSocket, type SocketOptions, type SocketState } from '../browser/reconnecting-socket.js';
import { Store } from '../browser/store.js';
import { useLatest, useStore } from './use-store.js';

type Message = Parameters<ReconnectingSocket['send']>[0];

export interface WebSocketResult extends SocketState {
  /** Send a message, objects as JSON; returns false where no socket is open. */
  readonly send: (message: Message) => boolean;
  /** Open a new socket at once, and count failures from zero. */
  readonly reconnect: () => void;
  /** Close the socket; only `reconnect` opens another. */
  readonly close: (code?: number, reason?: string) => void;
}

const UNCONNECTED = new Store(CLOSED);

/**
 * Connect to `url` while the component is mounted; `null` connects to nothing.
 *
 * `lastMessage` is for display: React batches updates, so two quick messages may render once. `onMessage`
 * gets each message. Another `url` or another value of an option opens another connection; another handler
 * does not.
 */
export function useWebSocket(url: string | URL | null, options: SocketOptions = {}): WebSocketResult {
  const latest = useLatest(options.onMessage);
  const address = url === null ? null : String(url);
  const identity = JSON.stringify({ ...options, onMessage: undefined });
  const socket = useMemo(() => {
    const onMessage = (message: MessageEvent): void => latest.current?.(message);
    return address === null ? null : new ReconnectingSocket(address, { ...options, onMessage });
  }, [address, identity, latest]);
  useEffect(() => {
    socket?.start();
    return () => socket?.close();
  }, [socket]);
  const calls = useMemo(() => callsOf(socket), [socket]);
  return { ...useStore(socket?.state ?? UNCONNECTED, CLOSED), ...calls };
}

function callsOf(socket: ReconnectingSocket | null): Omit<WebSocketResult, keyof SocketState> {
  return {
    send: (message) => socket?.send(message) ?? false,
    reconnect: () => socket?.reconnect(),
    close: (code, reason) => socket?.close(code, reason),
  };
}
