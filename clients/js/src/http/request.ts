/** HTTP requests to a bridge. */

import { assertValid, isFields, isText } from '../messages.js';
import type { Fields } from '../messages.js';

/** HTTP statuses of invalid credentials. */
const DENIED = [401, 403];

/** Response with a status beyond 2xx. */
export class HTTPError extends Error {
  constructor(
    message: string,
    /** Null where something other than the bridge denies access: the next attempt may reach the bridge. */
    readonly status: number | null,
    /** Code of the bridge's own refusal; null: something else answered. */
    readonly code: string | null = null,
    /** Wait that the server asked for, in milliseconds. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

export interface HTTPRequest {
  /** Sent as JSON by POST; without a body the method is GET. */
  body?: object;
  /** Bearer token; without one the application's session (cookies) identifies the user. */
  token?: string | null;
  accept?: string;
  signal: AbortSignal;
}

/** Send a request and return the response; throw an `HTTPError` for a status beyond 2xx. */
export async function request(url: string, options: HTTPRequest): Promise<Response> {
  const response = await fetch(url, {
    method: options.body ? 'POST' : 'GET',
    headers: headers(options),
    credentials: 'include',
    cache: 'no-store',
    signal: options.signal,
    ...(options.body && { body: JSON.stringify(options.body) }),
  });
  if (response.ok) return response;
  const { status } = response;
  const code = await refusalCode(response);
  const known = code === null && DENIED.includes(status) ? null : status;
  throw new HTTPError(`${url} answered ${status}`, known, code, retryAfter(response));
}

/** Return the code of the bridge's own refusal; null where a proxy or a portal on the way answered. */
async function refusalCode(response: Response): Promise<string | null> {
  if (!response.headers.get('content-type')?.startsWith('application/json')) return null;
  const fields: unknown = await response.json().catch(() => null);
  const code = isFields(fields) && isFields(fields.error) && fields.error.code;
  return isText(code) ? code : null;
}

/** Send a request and return the JSON object of the response; a proxy's HTML page is an error. */
export async function requestJSON(url: string, options: HTTPRequest): Promise<Fields> {
  const response = await request(url, options);
  const fields = await response.json().catch(() => null);
  assertValid(isFields(fields), 'a JSON object');
  return fields;
}

/** Return whether a server without a log refused: it refuses each further request too. */
export function isFinal(error: unknown): boolean {
  return error instanceof HTTPError && error.code === 'no_log';
}

function headers({ body, token, accept = 'application/json' }: HTTPRequest): Record<string, string> {
  return {
    accept,
    ...(body && { 'content-type': 'application/json' }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
}

/** Read `Retry-After` in seconds; for a date, the client's own poll schedule serves. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get('retry-after') ?? '';
  return /^\d+$/.test(text) ? Number(text) * 1_000 : undefined;
}
