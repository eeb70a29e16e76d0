'use client';
/** Client of a page's hooks. */

import { createContext, createElement, useContext, useEffect, useState, type ReactElement, type ReactNode } from 'react';
import { HybridClient } from '../hybrid-client.js';
import type { Client, ClientOptions } from '../types.js';
import { SharedClient } from './shared-client.js';

const ENDPOINT = '/realtime';

const ClientContext = createContext<Client | null>(null);

const clients = new Map<string, SharedClient>();

export interface RealtimeProviderProps {
  /** Client of the application. The provider starts it where it is idle; the application stops it. */
  readonly client?: Client;
  /**
   * Options of a client of the provider's own, read once. It starts with the first hook that uses it
   * and stops after the last. For a new client, as after a sign-in, change the provider's `key`.
   */
  readonly options?: ClientOptions;
  readonly children?: ReactNode;
}

/** Provides one client to all hooks and components inside, which then ignore their own `endpoint`. */
export function RealtimeProvider({ client, options, children }: RealtimeProviderProps): ReactElement {
  const [own] = useState(() => new SharedClient(() => new HybridClient(options)));
  useEffect(() => {
    if (client?.state.get().mode === 'IDLE') client.start();
  }, [client]);
  return createElement(ClientContext.Provider, { value: client ?? own }, children);
}

/** Return the client of the nearest provider, or the page's shared client of this endpoint (`/realtime` by default). */
export function useClient(endpoint?: string): Client {
  return useContext(ClientContext) ?? sharedClient(endpoint);
}

/** Return the shared client of an endpoint. On a server nothing is shared: requests belong to different users. */
function sharedClient(endpoint = ENDPOINT): SharedClient {
  const existing = clients.get(endpoint);
  if (existing) return existing;
  const client = new SharedClient((options) => new HybridClient({ ...options, endpoint }));
  if (typeof window !== 'undefined') clients.set(endpoint, client);
  return client;
}
