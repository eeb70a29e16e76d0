/** Descriptors: the server's addresses, user, token and guarantees, read at run time. */

import { assertValid, isFields, isText, milliseconds, numberOr } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Terms } from '../machine/commands.js';
import { requestJSON } from './request.js';

export type RouteName = 'websocket' | 'poll' | 'sse' | 'latest' | 'auth';

export interface Descriptor {
  readonly user: string | null;
  /** Bearer token; kept in memory only. */
  readonly token: string | null;
  /** URLs of the routes, relative to `connect`. */
  readonly urls: Fields;
  /** All fields of the response, `provider`, `options` and `guarantee` among them. */
  readonly fields: Fields;
  readonly terms: Terms;
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

  /** Return the URL of a route, or an empty text where the server has no such route. Without a descriptor, it is the usual URL. */
  url(name: RouteName): string {
    const relative = this._current ? this._current.urls[name] : name;
    return isText(relative) ? new URL(relative, this._connectURL()).href : '';
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
    const fields = saved(this._connectURL(), this._options.reuse);
    this._current ??= fields && readDescriptor(fields);
    return this._current;
  }

  private _connectURL(): string {
    const base = `${this._options.endpoint.replace(/\/+$/, '')}/connect`;
    return new URL(base, globalThis.location?.href).href;
  }

  private async _credentials(): Promise<string | null> {
    const { token } = this._options;
    return (typeof token === 'function' ? await token() : token) ?? null;
  }
}

function readDescriptor(fields: Fields): Descriptor {
  const { urls, user, token } = fields;
  assertValid(isFields(urls), 'a descriptor; check the endpoint');
  return {
    user: isText(user) ? user : null,
    token: isText(token) ? token : null,
    urls,
    fields,
    terms: readTerms(fields),
  };
}

function readTerms(fields: Fields): Terms {
  return {
    mode: fields.mode === 'polling' ? 'polling' : 'realtime',
    heartbeat: milliseconds(fields.heartbeat, 10_000),
    maxAge: fields.max_age == null ? null : milliseconds(fields.max_age, 0),
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

function saved(url: string, reuse: number): Fields | null {
  try {
    const text = globalThis.sessionStorage?.getItem(keyOf(url));
    const { at, fields } = JSON.parse(text ?? 'null') ?? {};
    // Where the wall clock was set back the age is negative, and must not serve without an end.
    return Math.abs(Date.now() - at) < reuse && isFields(fields) ? fields : null;
  } catch {
    return null;
  }
}
