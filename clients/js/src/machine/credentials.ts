/** Record of denied credentials: when to renew them, when to retry, and when to give up. Twin of credentials.py. */

const UNAUTHORIZED = 401;
const DENIED: readonly unknown[] = [UNAUTHORIZED, 403];

/** Return whether an HTTP status of the bridge itself means that the credentials are invalid. */
export function isDenial(status: number | null): boolean {
  return DENIED.includes(status);
}

/** Record of one client's denials. */
export class Credentials {
  /** True after a renewal, until a success confirms it. */
  renewed = false;
  private _deniedSince: number | null = null;

  /** `patience`: time during which a 401 is retried; an application that renews its session answers 401 for a moment. */
  constructor(private readonly _patience: number) {}

  /** Record a success, or a failure unrelated to the credentials. */
  confirm(): void {
    this.renewed = false;
    this._deniedSince = null;
  }

  /** Record a denial, and return what follows: a second 403 is final, a 401 after a while. */
  deny(now: number, status: number | null): 'renew' | 'retry' | 'final' {
    this._deniedSince ??= now;
    if (!this.renewed) {
      this.renewed = true;
      return 'renew';
    }
    return status === UNAUTHORIZED && now - this._deniedSince < this._patience ? 'retry' : 'final';
  }
}
