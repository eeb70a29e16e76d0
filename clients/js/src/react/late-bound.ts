/** Options of `useHybridUpdates`, whose functions may change with each render. */

import type { FetchData } from '../http/fetcher.js';
import type { HybridUpdatesOptions } from '../hybrid-updates.js';

export interface UpdatesOptions<Data> extends HybridUpdatesOptions<Data> {
  readonly fetchData: FetchData<Data> | null | undefined;
}

/** Return a text that differs where new options need a new start: other values, or another set of functions. */
export function fingerprint<Data>({ client: _, ...options }: UpdatesOptions<Data>): string {
  return JSON.stringify(options, (_name, value: unknown) => (typeof value === 'function' ? 'function' : value));
}

/** Return the options with functions that call the latest version of each function. */
export function lateBound<Data>({ client: _, ...options }: UpdatesOptions<Data>, now: () => UpdatesOptions<Data>): UpdatesOptions<Data> {
  const entries = Object.entries(options).map(([name, value]: [string, unknown]) => [name, isFunction(value) ? latest(name) : value]);
  return Object.fromEntries(entries) as UpdatesOptions<Data>;

  function latest(name: string) {
    return (...values: unknown[]): unknown => {
      const value = now()[name as keyof UpdatesOptions<Data>] as unknown;
      return isFunction(value) ? value(...values) : value;
    };
  }
}

function isFunction(value: unknown): value is (...values: unknown[]) => unknown {
  return typeof value === 'function';
}
