/** Record of denied credentials: when to renew them, when to retry, and when to give up. Twin of credentials.py. */

const UNAUTHORIZED = 401;
const DENIED: readonly unknown[] = [UNAUTHORIZED, 403];

/** Codes of refusals after which a fresh token may be accepted, with the causes for users. */
const CAUSES: Readonly<Record<string, string>> = {
  token_expired: 'it has expired',
  token_not_yet_valid: 'it is not valid yet, because two clocks differ',
  token_unknown_key: 'it is signed with another secret',
};

/** Return the reason of a refusal in words for users; `otherwise` where a token cannot help. */
export function refusalReason(code: string | null, otherwise: string): string {
  const cause = CAUSES[code ?? ''];
  return cause ? `the server refuses the token: ${cause}` : otherwise;
}

/** Return the reason of a failed request: its cause in words, then the status and the bridge's own code. */
export function failureReason(message: string | null, status: number | null, code: string | null): string {
  const numbers = [status, code].filter(Boolean).join(' ');
  if (!message) return numbers || 'no answer';
  return numbers ? `${message} (${numbers})` : message;
}

/** Return whether an HTTP status of the bridge itself means that the credentials are invalid. */
export function isDenial(status: number | null): boolean {
  return DENIED.includes(status);
}

/** Record of one client's denials. */
export class Credentials {
  /** True after a renewal, until a success confirms it. */
  renewed = false;
  private _deniedSince: number | null = null;

  /** `patience`: time during which a 401 is retried; an application that renews its session answers 401 for a moment. With 0, nothing is retried. */
  constructor(private readonly _patience: number) {}

  /** Record a success, or a failure unrelated to the credentials. */
  confirm(): void {
    this.renewed = false;
    this._deniedSince = null;
  }

  /**
   * Record a denial, and return what follows. A second 403 is final, and a 401 after a while. A token
   * refused for its time or its key never is: servers agree on secrets and clocks again, and a fresh
   * token then serves.
   */
  deny(now: number, status: number | null, code: string | null): 'renew' | 'retry' | 'final' {
    const isToken = !!CAUSES[code ?? ''] && this._patience > 0;
    if (!isToken) this._deniedSince ??= now;
    if (!this.renewed) {
      this.renewed = true;
      return 'renew';
    }
    const elapsed = now - (this._deniedSince ?? now);
    return isToken || (status === UNAUTHORIZED && elapsed < this._patience) ? 'retry' : 'final';
  }
}
