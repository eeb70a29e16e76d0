'use client';
/** Stores and handlers, as hooks read them. */

import { useCallback, useInsertionEffect, useRef, useSyncExternalStore, type RefObject } from 'react';
import type { ReadableStore } from '../types.js';

/** The store's value; `initial` on a server, and while hydrating what it sent. */
export function useStore<Value>(store: ReadableStore<Value>, initial: Value): Value {
  const subscribe = useCallback((listener: () => void) => store.subscribe(listener), [store]);
  return useSyncExternalStore(
    subscribe,
    () => store.get(),
    () => initial,
  );
}

/** Always what the last commit was given, so that no change of a handler's identity renews a subscription. */
export function useLatest<Value>(value: Value): Readonly<RefObject<Value>> {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
