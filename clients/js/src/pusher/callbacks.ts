/** Handlers of named events, in the form of pusher-js. */

import { guarded } from '../browser/report.js';

/** Handler of one event. */
export type EventCallback = (data?: any) => void;

/** Handler of all events. */
export type GlobalCallback = (event: string, data?: any) => void;

/** Object with handlers of named events, which `bind` adds and `unbind` removes. */
export class Callbacks {
  private readonly _named = new Map<string, EventCallback[]>();
  private _global: GlobalCallback[] = [];

  bind(event: string, callback: EventCallback): this {
    this._named.set(event, [...(this._named.get(event) ?? []), callback]);
    return this;
  }

  /** Remove handlers: without `event` those of all events, without `callback` all of the event. */
  unbind(event?: string | null, callback?: EventCallback | null): this {
    for (const name of event ? [event] : [...this._named.keys()]) {
      const rest = callback ? this._named.get(name)?.filter((other) => other !== callback) : [];
      if (rest?.length) this._named.set(name, rest);
      else this._named.delete(name);
    }
    return this;
  }

  bind_global(callback: GlobalCallback): this {
    this._global = [...this._global, callback];
    return this;
  }

  unbind_global(callback?: GlobalCallback): this {
    this._global = callback ? this._global.filter((other) => other !== callback) : [];
    return this;
  }

  unbind_all(): this {
    return this.unbind().unbind_global();
  }

  /** Call the handlers of an event; one that throws is reported, and stops no other. */
  emit(event: string, data?: unknown): void {
    for (const callback of this._global) guarded(() => callback(event, data));
    for (const callback of this._named.get(event) ?? []) guarded(() => callback(data));
  }
}
