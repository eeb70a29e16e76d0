/** Locks by which tabs choose a leader: the browser gives a lock on when its tab ends, however it ends. */

export interface LockListener {
  granted(): void;
  /** Handle a lock that another tab took, or one that the browser refuses. */
  lost(): void;
}

/** Lock of one tab; one that was released can be requested again. */
export class TabLock {
  listener: LockListener | null = null;
  private _request: AbortController | null = null;
  private _free: (() => void) | null = null;

  constructor(private readonly _name: string) {}

  /** Wait for the lock; another tab may have it for long. */
  queue(): void {
    this._ask((signal) => ({ signal }));
  }

  /** Take the lock from a tab that does not answer. */
  steal(): void {
    this._ask(() => ({ steal: true }));
  }

  release(): void {
    this._request?.abort();
    this._request = null;
    this._free?.();
    this._free = null;
  }

  private _ask(options: (signal: AbortSignal) => LockOptions): void {
    this.release();
    const request = (this._request = new AbortController());
    const { signal } = request;
    const hold = () => {
      // Released while the browser granted it.
      if (signal.aborted) return undefined;
      const held = new Promise<void>((free) => (this._free = free));
      this.listener?.granted();
      return held;
    };
    navigator.locks.request(this._name, options(signal), hold).catch(() => {
      if (this._request === request) this._lose();
    });
  }

  private _lose(): void {
    this._request = this._free = null;
    this.listener?.lost();
  }
}

/** Hold a lock that shows that this page is there; resolves when it is held, with a function that frees it. */
export function holdLock(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((free) => resolve(free));
    navigator.locks.request(name, hold).catch(reject);
  });
}

/** Call a function when the page that holds a lock is gone; `signal` ends the wait. */
export function whenFree(name: string, signal: AbortSignal, call: () => void): void {
  // Rejected at the end of the wait.
  navigator.locks.request(name, { signal }, call).catch(() => {});
}
