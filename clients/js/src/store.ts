/** A value that can be read and watched. */

import type { ReadableStore } from './types.js';

export class Store<Value> implements ReadableStore<Value> {
  private readonly listeners = new Set<() => void>();

  constructor(private value: Value) {}

  /** Bound, as `useSyncExternalStore` wants it. */
  readonly get = (): Value => this.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  set(value: Value): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  }

  /** Change some fields; where nothing differs, nobody is told. */
  merge(fields: Partial<Value>): void {
    const names = Object.keys(fields) as (keyof Value)[];
    if (names.every((name) => Object.is(fields[name], this.value[name]))) return;
    this.set({ ...this.value, ...fields });
  }
}
