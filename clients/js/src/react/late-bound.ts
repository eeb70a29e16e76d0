/** The options of `useHybridUpdates`, whose functions may be others at every render. */

import type { FetchData, HybridUpdatesOptions } from '../hybrid-updates.js';

export interface Given<Data> extends HybridUpdatesOptions<Data> {
  readonly fetchData: FetchData<Data> | null | undefined;
}

/** What begins anew when it differs: values, and which functions there are; never which function it is. */
export function fingerprint<Data>({ client: _, ...given }: Given<Data>): string {
  return JSON.stringify(given, (_name, value: unknown) => (typeof value === 'function' ? 'function' : value));
}

/** The same options, with functions that look up the newest when they are called. */
export function lateBound<Data>({ client: _, ...given }: Given<Data>, now: () => Given<Data>): Given<Data> {
  const late = Object.entries(given).map(([name, value]: [string, unknown]) => [name, isFunction(value) ? newest(name) : value]);
  return Object.fromEntries(late) as Given<Data>;

  function newest(name: string) {
    return (...values: unknown[]): unknown => {
      const value = now()[name as keyof Given<Data>] as unknown;
      return isFunction(value) ? value(...values) : value;
    };
  }
}

function isFunction(value: unknown): value is (...values: unknown[]) => unknown {
  return typeof value === 'function';
}
