/** Descriptors: the server's addresses, user, token and guarantees, read at run time. */

import { assertValid, isFields, isText, milliseconds, numberOr } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Terms } from '../machine/commands.js';
import { HTTPError, foreign, messageOf, requestJSON } from './request.js';

/** Channels that each server takes in a poll, docs/specification.md §6.4: a client that only polls gets no descriptor. */
const CHANNEL_LIMIT = 128;

/** Shortest age of a connection that a server can announce; a shorter one would make the client connect without a pause. */
const MIN_AGE = 10_000;

export type RouteName = 'websocket' | 'poll' | 'sse' | 'latest' | 'auth' | 'stop' | 'cancel' | 'answer';

/** Usual routes, where they differ from the URL's name. */
const ROUTES: Partial<Record<RouteName, string>> = { websocket: 'ws', stop: 'stream/stop', cancel: 'job/cancel', answer: 'job/answer' };

export interface Descriptor {
  readonly user: string | null;
  /** Bearer token; kept in memory only. */
  readonly token: string | null;
  /** URLs of the routes, relative to `connect`. */
  readonly urls: Fields;
  /** All fields of the response, `provider`, `options` and `guarantee` among them. */
  readonly fields: Fields;
  readonly terms: Terms;
  /** Largest number of channels on one connection, and in one poll. */
  readonly channelLimit: number;
}

export interface DescriptorStoreOptions {
  endpoint: string;
  /** Age up to which a stored descriptor serves, in milliseconds. */
  reuse: number;
  client: string;
  token?: string | (() => string | Promise<string>);
}

/** Descriptors of one client; the last one is also stored in the tab, without its token. */
export class DescriptorStore {
  private _current: Descriptor | null = null;
  /** Time of the token's end on the monotonic clock: the wall clock may be wrong, and may jump. */
  private _expires = 0;

  constructor(private readonly _options: DescriptorStoreOptions) {}

  get last(): Descriptor | null {
    return this._current;
  }

  /** True if there is a token that has not expired. */
  get usable(): boolean {
    return this._current?.token != null && performance.now() < this._expires;
  }

  get channelLimit(): number {
    return this._current?.channelLimit ?? CHANNEL_LIMIT;
  }

  /** Return the URL of a route, or an empty text where the server has no such route. Without a descriptor, it is the usual URL. */
  url(name: RouteName): string {
    const relative = this._current ? this._current.urls[name] : (ROUTES[name] ?? name);
    if (!isText(relative)) return '';
    const base = this._connectURL();
    const url = new URL(relative, base);
    url.search ||= new URL(base).search;
    return url.href;
  }

  /** Return the URL of a route; throw where the server has no such route. */
  requiredURL(name: RouteName): string {
    const url = this.url(name);
    assertValid(url, `the URL of ${name}`);
    return url;
  }

  /** Return the token for requests: the descriptor's, or the application's; null: its session identifies the user. */
  async token(): Promise<string | null> {
    return this.usable ? (this._current?.token ?? null) : this._credentials();
  }

  /** Request a descriptor. */
  async fetch(signal: AbortSignal): Promise<Descriptor> {
    const url = this._connectURL();
    const token = await this._credentials();
    const fields = await requestJSON(url, { body: { client: this._options.client }, token, signal });
    const descriptor = readDescriptor(fields);
    this._current = descriptor;
    this._expires = performance.now() + descriptor.terms.expires;
    save(url, { ...fields, token: null });
    return descriptor;
  }

  /** Load the last descriptor of this tab, if it is recent enough. */
  load(): Descriptor | null {
    const fields = saved(() => this._connectURL(), this._options.reuse);
    this._current ??= fields && readDescriptor(fields);
    return this._current;
  }

  private _connectURL(): string {
    const { endpoint } = this._options;
    const url = new URL(endpoint.replace(/^ws/, 'http'), globalThis.location?.href);
    assertValid(url.protocol.startsWith('http'), `an http address as the endpoint, not ${endpoint}`);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/connect`;
    url.hash = '';
    return url.href;
  }

  private async _credentials(): Promise<string | null> {
    const { token } = this._options;
    try {
      return (typeof token === 'function' ? await token() : token) ?? null;
    } catch (error) {
      throw new HTTPError(`the application's token() failed: ${messageOf(error)}`, null);
    }
  }
}

function readDescriptor(fields: Fields): Descriptor {
  const { urls, user, token } = fields;
  if (!isFields(urls)) throw new HTTPError(foreign(200), null);
  return {
    user: isText(user) ? user : null,
    token: isText(token) ? token : null,
    urls,
    fields,
    terms: readTerms(fields),
    channelLimit: readLimit(fields.limits),
  };
}

function readLimit(limits: unknown): number {
  const channels = isFields(limits) ? numberOr(0, limits.channels) : 0;
  return channels >= 1 ? channels : CHANNEL_LIMIT;
}

function readTerms(fields: Fields): Terms {
  const maxAge = milliseconds(fields.max_age, -1);
  return {
    mode: fields.mode === 'polling' ? 'polling' : 'realtime',
    heartbeat: milliseconds(fields.heartbeat, 10_000),
    maxAge: maxAge < 0 ? null : Math.max(MIN_AGE, maxAge),
    generation: numberOr(0, fields.generation),
    expires: milliseconds(fields.expires, 600_000),
  };
}

const keyOf = (url: string): string => `realtime-bridge:${url}`;

function save(url: string, fields: Fields): void {
  const text = JSON.stringify({ at: Date.now(), fields });
  try {
    globalThis.sessionStorage?.setItem(keyOf(url), text);
  } catch {
    // Storage may be full or forbidden; the client works without it.
  }
}

function saved(url: () => string, reuse: number): Fields | null {
  try {
    // An invalid address throws here too: the request for a descriptor reports it.
    const text = globalThis.sessionStorage?.getItem(keyOf(url()));
    const { at, fields } = JSON.parse(text ?? 'null') ?? {};
    // Where the wall clock was set back the age is negative, and must not serve without an end.
    return Math.abs(Date.now() - at) < reuse && isFields(fields) ? fields : null;
  } catch {
    return null;
  }
}
