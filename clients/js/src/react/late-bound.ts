/** The options of `useHybridUpdates`, whose functions may be others at every render. */

import type { ClientOptions } from '../types.js';
import type { FetchData, HybridUpdatesOptions } from '../updates.js';

export interface Given<Data> extends HybridUpdatesOptions<Data> {
  readonly fetchData: FetchData<Data> | null | undefined;
}

/** What begins anew when it differs: values, and which functions there are; never which function it is. */
export function fingerprint<Data>({ client: _, ...given }: Given<Data>): string {
  return JSON.stringify(given, (_name, value: unknown) => (typeof value === 'function' ? 'function' : value));
}

/** The client's options, with functions that look up the newest when they are called. */
export function clientOptions<Data>(given: Given<Data>, now: () => Given<Data>): ClientOptions {
  const { client: _client, fetchData: _data, reduce: _reduce, onEvent: _event, onSnapshot: _snapshot, ...options } = given;
  const { token, onTelemetry } = given;
  if (typeof token === 'function') options.token = () => newest(now().token ?? token);
  if (onTelemetry) options.onTelemetry = (entry) => now().onTelemetry?.(entry);
  return options;
}

/** The updates' options, likewise. */
export function updatesOptions<Data>(given: Given<Data>, now: () => Given<Data>): HybridUpdatesOptions<Data> {
  const { reduce, onSnapshot } = given;
  const options: HybridUpdatesOptions<Data> = { ...clientOptions(given, now), onEvent: (event) => now().onEvent?.(event) };
  if (reduce) options.reduce = (data, event) => (now().reduce ?? reduce)(data, event);
  if (onSnapshot) options.onSnapshot = (snapshot) => now().onSnapshot?.(snapshot);
  return options;
}

function newest(token: NonNullable<ClientOptions['token']>): string | Promise<string> {
  return typeof token === 'function' ? token() : token;
}
