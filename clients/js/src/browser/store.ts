/** Value that can be read and watched. */

import type { ReadableStore } from '../types.js';
import { guarded } from './report.js';

export class Store<Value> implements ReadableStore<Value> {
  private readonly _listeners = new Set<() => void>();

  constructor(private _value: Value) {}

  // Arrow functions: `useSyncExternalStore` calls both without `this`.
  readonly get = (): Value => this._value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  };

  get isWatched(): boolean {
    return this._listeners.size > 0;
  }

  set(value: Value): void {
    if (Object.is(value, this._value)) return;
    this._value = value;
    // A listener may unsubscribe while it runs.
    for (const listener of [...this._listeners]) guarded(listener);
  }

  /** Change some fields; call no listener where nothing differs. */
  merge(fields: Partial<Value>): void {
    const names = Object.keys(fields) as (keyof Value)[];
    if (names.every((name) => Object.is(fields[name], this._value[name]))) return;
    this.set({ ...this._value, ...fields });
  }
}
