'use client';
/** Which client the hooks of a page use. */

import { createContext, createElement, useContext, useEffect, useState, type ReactElement, type ReactNode } from 'react';
import { HybridClient } from '../hybrid-client.js';
import type { Client, ClientOptions } from '../types.js';
import { SharedClient } from './shared-client.js';

const ENDPOINT = '/realtime';

const ClientContext = createContext<Client | null>(null);

const clients = new Map<string, SharedClient>();

export interface RealtimeProviderProps {
  /** A client of yours. It is started if it never was, and stopping it stays your part. */
  readonly client?: Client;
  /**
   * Or how to make one, read once: it starts with the first hook that uses it and stops with the last.
   * To begin anew, as when somebody else signs in, change the provider's `key`.
   */
  readonly options?: ClientOptions;
  readonly children?: ReactNode;
}

/** Gives all hooks and components inside one client; they then disregard an `endpoint` of their own. */
export function RealtimeProvider({ client, options, children }: RealtimeProviderProps): ReactElement {
  const [own] = useState(() => new SharedClient(() => new HybridClient(options)));
  useEffect(() => {
    if (client?.state.get().mode === 'IDLE') client.start();
  }, [client]);
  return createElement(ClientContext.Provider, { value: client ?? own }, children);
}

/** The client of the nearest provider, or the one that all share who name this endpoint (`/realtime` by default). */
export function useClient(endpoint?: string): Client {
  return useContext(ClientContext) ?? sharedClient(endpoint);
}

/** On a server nothing is shared: its requests belong to different people. */
function sharedClient(endpoint = ENDPOINT): SharedClient {
  const known = clients.get(endpoint);
  if (known) return known;
  const made = new SharedClient((options) => new HybridClient({ ...options, endpoint }));
  if (typeof window !== 'undefined') clients.set(endpoint, made);
  return made;
}
