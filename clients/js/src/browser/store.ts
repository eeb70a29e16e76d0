/** A value that can be read and watched. */

import { guarded } from './report.js';
import type { ReadableStore } from '../types.js';

export class Store<Value> implements ReadableStore<Value> {
  private readonly _listeners = new Set<() => void>();

  constructor(private _value: Value) {}

  /** Bound, as `useSyncExternalStore` wants it. */
  readonly get = (): Value => this._value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  };

  set(value: Value): void {
    if (Object.is(value, this._value)) return;
    this._value = value;
    for (const listener of [...this._listeners]) guarded(listener);
  }

  /** Change some fields; where nothing differs, nobody is told. */
  merge(fields: Partial<Value>): void {
    const names = Object.keys(fields) as (keyof Value)[];
    if (names.every((name) => Object.is(fields[name], this._value[name]))) return;
    this.set({ ...this._value, ...fields });
  }
}
