/** Requests to the bridge, and what becomes of them. */

import { demand, isFields } from '../messages.js';
import type { Fields } from '../messages.js';

/** An answer beyond 2xx. */
export class HttpError extends Error {
  constructor(
    message: string,
    readonly status: number,
    /** Milliseconds. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

export interface Request {
  body?: object;
  /** A bearer token; without one the application's own session speaks for us. */
  token?: string | null;
  accept?: string;
  signal: AbortSignal;
}

/** Ask, and return the answer whatever it holds; statuses beyond 2xx are thrown. */
export async function ask(url: string, request: Request): Promise<Response> {
  const response = await fetch(url, {
    method: request.body ? 'POST' : 'GET',
    headers: headers(request),
    credentials: 'include',
    cache: 'no-store',
    signal: request.signal,
    ...(request.body && { body: JSON.stringify(request.body) }),
  });
  if (response.ok) return response;
  throw new HttpError(`${url} answered ${response.status}`, response.status, retryAfter(response));
}

/** Ask for a JSON object: a proxy's or a portal's HTML is an error. */
export async function askJson(url: string, request: Request): Promise<Fields> {
  const response = await ask(url, request);
  const fields = await response.json().catch(() => null);
  demand(isFields(fields), 'JSON');
  return fields;
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof HttpError ? error.status : undefined;
}

function headers({ body, token, accept = 'application/json' }: Request): Record<string, string> {
  return {
    accept,
    ...(body && { 'content-type': 'application/json' }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
}

/** `Retry-After` in seconds; where it is a date, the client's own cadence serves. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get('retry-after') ?? '';
  return /^\d+$/.test(text) ? Number(text) * 1_000 : undefined;
}
