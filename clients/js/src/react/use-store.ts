'use client';
/** Hooks for stores and handlers. */

import { useCallback, useInsertionEffect, useRef, useSyncExternalStore, type RefObject } from 'react';
import type { ReadableStore } from '../types.js';

/** Return the store's value; `initial` on a server and during hydration. */
export function useStore<Value>(store: ReadableStore<Value>, initial: Value): Value {
  const subscribe = useCallback((listener: () => void) => store.subscribe(listener), [store]);
  return useSyncExternalStore(
    subscribe,
    () => store.get(),
    () => initial,
  );
}

/** Return a reference to the value of the last commit, so that a new handler needs no new subscription. */
export function useLatest<Value>(value: Value): Readonly<RefObject<Value>> {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
