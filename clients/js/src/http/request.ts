/** HTTP requests to a bridge. */

import { debug } from '../browser/debug.js';
import { isFields, isText } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Telemetry } from '../types.js';

const log = debug('http');

/** HTTP statuses of invalid credentials. */
const DENIED = [401, 403];

/** Failed request whose cause is known. */
export class HTTPError extends Error {
  constructor(
    message: string,
    /** Null without a response of the bridge: the next attempt may reach it. */
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
  /** Token; without one the application's session (cookies) identifies the user. */
  token?: string | null;
  accept?: string;
  signal: AbortSignal;
}

/** Send a request and return the response; throw an `HTTPError` for a status beyond 2xx. */
export async function request(url: string, options: HTTPRequest): Promise<Response> {
  const response = await answered(url, {
    method: options.body ? 'POST' : 'GET',
    headers: headers(options),
    credentials: 'include',
    cache: 'no-store',
    signal: options.signal,
    ...(options.body && { body: JSON.stringify(options.body) }),
  });
  if (response.ok) return response;
  const { status } = response;
  const { code, message } = await refusalOf(response);
  if (isText(code)) throw new HTTPError(isText(message) ? message : code, status, code, retryAfter(response));
  throw new HTTPError(foreign(status), DENIED.includes(status) ? null : status, null, retryAfter(response));
}

/** Send a request; browsers give no cause where no response arrives. */
async function answered(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    log('no response: url=%s error=%s', url, error);
    throw new HTTPError('', null);
  }
}

/** Return the bridge's own refusal; nothing where a proxy or a portal on the way answered. */
async function refusalOf(response: Response): Promise<Fields> {
  if (!response.headers.get('content-type')?.startsWith('application/json')) return {};
  const fields: unknown = await response.json().catch(() => null);
  return isFields(fields) && isFields(fields.error) ? fields.error : {};
}

/** Return the cause of a response that is not the bridge's. */
export function foreign(status: number): string {
  return `something other than the bridge answered ${status}: check the address`;
}

/** Return the message of an error, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Return the telemetry of a failed request. */
export function failureOf(error: unknown, request: 'connect' | 'poll' | 'latest'): Telemetry {
  const code = error instanceof HTTPError ? error.code : null;
  return { type: 'failure', request, reason: messageOf(error) || 'no answer', code };
}

/** Send a request and return the JSON object of the response; a proxy's HTML page is an error. */
export async function requestJSON(url: string, options: HTTPRequest): Promise<Fields> {
  const response = await request(url, options);
  const fields = await response.json().catch(() => null);
  if (!isFields(fields)) throw new HTTPError(foreign(response.status), null);
  return fields;
}

/** Return whether a server refused whose log has no snapshot: it refuses each further request too. */
export function isFinal(error: unknown): boolean {
  return hasCode(error, 'no_log', 'no_owners');
}

/** Return whether the bridge refused with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof HTTPError && codes.includes(error.code ?? '');
}

function headers({ body, token, accept = 'application/json' }: HTTPRequest): Record<string, string> {
  return {
    accept,
    ...(body && { 'content-type': 'application/json' }),
    // Not `authorization`: that header may hold the credentials of a proxy on the way.
    ...(token && { 'realtime-token': token }),
  };
}

/** Read `Retry-After` in seconds; for a date, the client's own poll schedule serves. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get('retry-after') ?? '';
  return /^\d+$/.test(text) ? Number(text) * 1_000 : undefined;
}
