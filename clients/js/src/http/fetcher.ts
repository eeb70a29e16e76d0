/** Calls of the application's `fetchData`, with retries. */

import { backoff } from '../machine/backoff.js';

export interface FetcherListener<Data> {
  fetched(data: Data): void;
  failed(error: unknown): void;
}

/** Function of the application that reads its data over HTTP. */
export type FetchData<Data> = (context: { signal: AbortSignal }) => Data | Promise<Data>;

/** Calls one function, one call at a time, and again until a call succeeds. */
export class Fetcher<Data> {
  /** True if the function was called. */
  begun = false;
  /** True if the last call succeeded. */
  fresh = false;
  private _current: Promise<void> | null = null;
  private _following: Promise<void> | null = null;
  private _controller = new AbortController();
  private _retry: ReturnType<typeof setTimeout> | undefined;
  private _failures = 0;

  /** `base` is the upper bound of the first wait after a failure, in milliseconds. */
  constructor(
    private readonly _fetch: FetchData<Data>,
    private readonly _listener: FetcherListener<Data>,
    private readonly _base: number,
  ) {}

  /** Promise of the calls in flight. */
  get pending(): Promise<void> | null {
    return this._following ?? this._current;
  }

  /** Fetch current data. A call in flight may return older data, so another one follows it. */
  run(): Promise<void> {
    if (!this._current) return this._begin();
    // `stop` and a new start may come first: this run belongs to the start of its time.
    const { signal } = this._controller;
    this._following ??= this._current.then(() => {
      if (signal.aborted) return undefined;
      this._following = null;
      return this._begin();
    });
    return this._following;
  }

  stop(): void {
    clearTimeout(this._retry);
    this._controller.abort();
    this._controller = new AbortController();
    this._current = this._following = null;
    this.begun = this.fresh = false;
  }

  private _begin(): Promise<void> {
    clearTimeout(this._retry);
    this.begun = true;
    const { signal } = this._controller;
    const current = this._call(signal).finally(() => {
      // `stop` and a new start may have replaced the call.
      if (this._current === current) this._current = null;
    });
    this._current = current;
    return current;
  }

  private async _call(signal: AbortSignal): Promise<void> {
    try {
      const data = await this._fetch({ signal });
      if (signal.aborted) return;
      this.fresh = true;
      this._failures = 0;
      this._listener.fetched(data);
    } catch (error) {
      if (signal.aborted) return;
      this.fresh = false;
      this._listener.failed(error);
      this._retryLater();
    }
  }

  private _retryLater(): void {
    const wait = backoff(this._failures, Math.random(), this._base);
    this._failures += 1;
    this._retry = setTimeout(() => void this.run(), wait);
  }
}
