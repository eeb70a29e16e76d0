/** The application's own `fetchData`: one at a time, and again until it has gone well. */

import { delay } from '../machine/backoff.js';

export interface FetcherListener<Data> {
  fetched(data: Data): void;
  failed(error: unknown): void;
}

export type Fetch<Data> = (context: { signal: AbortSignal }) => Data | Promise<Data>;

export class Fetcher<Data> {
  /** Whether it has been called at all, and whether the last call went well. */
  begun = false;
  fresh = false;
  private _current: Promise<void> | null = null;
  private _following: Promise<void> | null = null;
  private _request = new AbortController();
  private _retry: ReturnType<typeof setTimeout> | undefined;
  private _failures = 0;

  /** `base` is the upper bound of the first wait after a failure, in milliseconds. */
  constructor(
    private readonly _fetch: Fetch<Data>,
    private readonly _listener: FetcherListener<Data>,
    private readonly _base: number,
  ) {}

  /** What to wait for, while there is something. */
  get pending(): Promise<void> | null {
    return this._following ?? this._current;
  }

  /** Fetch what is true now: a call that is on its way may be older, so one follows it. */
  run(): Promise<void> {
    if (!this._current) return this._begin();
    this._following ??= this._current.then(() => {
      this._following = null;
      return this._request.signal.aborted ? undefined : this._begin();
    });
    return this._following;
  }

  stop(): void {
    clearTimeout(this._retry);
    this._request.abort();
    this._request = new AbortController();
    this._current = this._following = null;
    this.begun = this.fresh = false;
  }

  private _begin(): Promise<void> {
    clearTimeout(this._retry);
    this.begun = true;
    const { signal } = this._request;
    const current = this._call(signal).finally(() => {
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
      this._again();
    }
  }

  private _again(): void {
    const wait = delay(this._failures, Math.random(), { base: this._base / 1_000 }) * 1_000;
    this._failures += 1;
    this._retry = setTimeout(() => void this.run(), wait);
  }
}
