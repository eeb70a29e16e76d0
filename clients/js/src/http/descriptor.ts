/** What the server tells us at run time: where to connect, as whom, and what it promises. */

import { demand, isFields, isText, milliseconds, numberOr } from '../messages.js';
import type { Fields } from '../messages.js';
import { askJson } from './request.js';
import type { Terms } from '../machine/commands.js';

export type UrlName = 'websocket' | 'poll' | 'sse' | 'latest' | 'auth';

export interface Descriptor {
  readonly user: string | null;
  /** Never stored beyond this page. */
  readonly token: string | null;
  /** Relative to the address of `connect`. */
  readonly urls: Fields;
  /** `provider`, its `options`, and `guarantee`, as they came. */
  readonly fields: Fields;
  readonly terms: Terms;
}

export interface DescriptorsOptions {
  endpoint: string;
  /** Age up to which a stored descriptor serves, in milliseconds. */
  reuse: number;
  client: string;
  token?: string | (() => string | Promise<string>);
}

/** Asks for descriptors, and remembers the last one, without its token. */
export class Descriptors {
  private _current: Descriptor | null = null;
  private _expires = 0;

  constructor(private readonly _options: DescriptorsOptions) {}

  get last(): Descriptor | null {
    return this._current;
  }

  /** Whether there is a token that is good for a while. */
  get usable(): boolean {
    return this._current?.token != null && Date.now() < this._expires;
  }

  /** The address of a route, or nothing; before there was a descriptor, its usual one. */
  url(name: UrlName): string {
    const relative = this._current ? this._current.urls[name] : name;
    return isText(relative) ? new URL(relative, this._connectUrl()).href : '';
  }

  /** The address of a route that the server has to offer. */
  offered(name: UrlName): string {
    const url = this.url(name);
    demand(url, `an offer of ${name}`);
    return url;
  }

  /** Whom requests speak for: the descriptor's token, the application's own, or its session. */
  async token(): Promise<string | null> {
    return this.usable ? (this._current?.token ?? null) : this._credentials();
  }

  async fetch(signal: AbortSignal): Promise<Descriptor> {
    const url = this._connectUrl();
    const token = await this._credentials();
    const fields = await askJson(url, { body: { client: this._options.client }, token, signal });
    const descriptor = readDescriptor(fields);
    this._current = descriptor;
    this._expires = Date.now() + descriptor.terms.expires;
    remember(url, { ...fields, token: null });
    return descriptor;
  }

  /** Take up the last descriptor of this page or tab, if it is younger than an hour. */
  recall(): Descriptor | null {
    const url = this._connectUrl();
    const fields = recalled(url, this._options.reuse);
    this._current ??= fields && readDescriptor(fields);
    return this._current;
  }

  private _connectUrl(): string {
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
  demand(isFields(urls), 'a descriptor: is the endpoint right?');
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

function remember(url: string, fields: Fields): void {
  const text = JSON.stringify({ at: Date.now(), fields });
  try {
    globalThis.sessionStorage?.setItem(keyOf(url), text);
  } catch {
    // Storage is full or forbidden.
  }
}

function recalled(url: string, reuse: number): Fields | null {
  try {
    const text = globalThis.sessionStorage?.getItem(keyOf(url));
    const { at, fields } = JSON.parse(text ?? 'null') ?? {};
    return Date.now() - at < reuse && isFields(fields) ? fields : null;
  } catch {
    return null;
  }
}
