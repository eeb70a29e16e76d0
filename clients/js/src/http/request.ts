/** HTTP requests to a bridge. */

import { assertValid, isFields } from '../messages.js';
import type { Fields } from '../messages.js';

/** Response with a status beyond 2xx. */
export class HTTPError extends Error {
  constructor(
    message: string,
    readonly status: number,
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
  throw new HTTPError(`${url} answered ${response.status}`, response.status, retryAfter(response));
}

/** Send a request and return the JSON object of the response; a proxy's HTML page is an error. */
export async function requestJSON(url: string, options: HTTPRequest): Promise<Fields> {
  const response = await request(url, options);
  const fields = await response.json().catch(() => null);
  assertValid(isFields(fields), 'a JSON object');
  return fields;
}

/** Return the HTTP status of an error; null where no response arrived. */
export function httpStatus(error: unknown): number | null {
  return error instanceof HTTPError ? error.status : null;
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
