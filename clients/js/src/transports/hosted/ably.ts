/** Events by Ably: ably-js connects with a token for just our channels, and is let go of when it loses. */

import type { ErrorInfo, Message, Realtime, RealtimeChannel, TokenDetails } from 'ably';
import type { Fields } from '../../messages.js';
import type { LinkHandlers, LinkTools } from '../transport.js';
import { HostedLink } from './hosted-transport.js';
import type { Provider, ProviderHandlers, ProviderTools } from './provider.js';

type Client = typeof Realtime;

const FORBIDDEN = 403;
const UNAVAILABLE = 503;

/** Ably's code for what a token does not cover. */
const NOT_COVERED = 40160;

export function ablyLink(tools: LinkTools, handlers: LinkHandlers): HostedLink {
  return new HostedLink(openAbly, tools, handlers);
}

export async function openAbly(tools: ProviderTools, handlers: ProviderHandlers): Promise<Provider> {
  const provider = new AblyProvider(await load(), tools, handlers);
  void provider.open();
  return provider;
}

async function load(): Promise<Client> {
  // Within `try` bundlers take a missing package for a warning: it is needed where Ably is used.
  try {
    const sdk = await import('ably');
    return sdk.Realtime ?? (sdk as unknown as { default: { Realtime: Client } }).default.Realtime;
  } catch (cause) {
    throw new Error('this deployment delivers by Ably: npm install ably', { cause });
  }
}

class AblyProvider implements Provider {
  private readonly _ably: Realtime;
  private _live = true;
  private _isOpen = false;
  /** Our names of the channels that are wanted, and those that are waiting for a token. */
  private readonly _wanted = new Set<string>();
  private _waiting = new Set<string>();
  private _covered = new Set<string>();
  /** A token that was asked for, and not yet taken by the SDK. */
  private _token: TokenDetails | null = null;
  private _asking: ReturnType<typeof setTimeout> | undefined;

  constructor(
    client: Client,
    private readonly _tools: ProviderTools,
    private readonly _handlers: ProviderHandlers,
  ) {
    this._ably = new client({
      ...placeOf(_tools.options),
      autoConnect: false,
      // Where sockets do not pass we poll; the SDK would ask hosts of its maker whether they do.
      transports: ['web_socket'],
      disableConnectivityCheck: true,
      useBinaryProtocol: false,
      logLevel: 0,
      authCallback: (_, answer) => {
        this._takeToken().then(
          (details) => answer(null, details),
          (error: Refusal) => answer(String(error), null),
        );
      },
    });
    const { connection } = this._ably;
    connection.on('connected', () => this._opened());
    // It would come back by itself, but the machine knows when to.
    connection.on(['disconnected', 'suspended', 'failed', 'closed'], ({ current, reason }) =>
      this._lose(`Ably is ${current}: ${reason?.message ?? 'it does not say why'}`),
    );
  }

  /** Connect for the channels that are wanted already; without any there is nothing to connect for. */
  async open(): Promise<void> {
    const channels = this._tools.channels();
    try {
      if (channels.length) await this._cover(channels);
    } catch (error) {
      if (this._live) this._handlers.refused(channels[0]!, statusOf(error), String(error));
    }
    if (!this._covered.size) this._opened();
  }

  subscribe(channel: string): void {
    this._wanted.add(channel);
    if (this._covered.has(channel)) {
      this._attach(channel);
      return;
    }
    this._waiting.add(channel);
    this._asking ??= setTimeout(() => void this._permit(), this._tools.tokenBatchDelay);
  }

  unsubscribe(channel: string): void {
    this._wanted.delete(channel);
    this._waiting.delete(channel);
    const there = this._there(channel);
    there.unsubscribe();
    there.off();
    there.detach().catch(() => {});
  }

  ping(): void {
    if (this._covered.size) this._ably.connection.ping().then(() => this._handlers.alive(), () => {});
    else this._handlers.alive();
  }

  /** Ably asks for another token in time, and gets it with whatever token of ours there is then. */
  renew(): void {}

  close(): void {
    this._live = false;
    clearTimeout(this._asking);
    this._ably.close();
  }

  private _opened(): void {
    if (!this._live || this._isOpen) return;
    this._isOpen = true;
    this._handlers.connected();
  }

  private _lose(reason: string): void {
    if (!this._live) return;
    this._live = false;
    this._handlers.lost(reason);
  }

  /** Get a token for what is waiting too, then attach it. */
  private async _permit(): Promise<void> {
    this._asking = undefined;
    const channels = [...this._waiting];
    this._waiting = new Set();
    try {
      await this._cover([...this._wanted]);
    } catch (error) {
      for (const channel of channels) this._refuse(channel, statusOf(error), String(error));
      return;
    }
    for (const channel of channels) {
      if (this._covered.has(channel)) this._attach(channel);
      else this._refuse(channel, FORBIDDEN, 'this user may not listen to it');
    }
  }

  /** Give the connection a token for those of the channels that we may listen to. */
  private async _cover(channels: string[]): Promise<void> {
    this._token = await this._ask(channels);
    if (this._live && this._token) await this._ably.auth.authorize();
  }

  private async _takeToken(): Promise<TokenDetails> {
    const details = this._token ?? (await this._ask([...this._wanted]));
    this._token = null;
    if (!details) throw new Refusal(FORBIDDEN);
    return details;
  }

  /** Ask the bridge; nothing where no channel is granted. */
  private async _ask(channels: string[]): Promise<TokenDetails | null> {
    const response = await fetch(this._tools.authUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${this._tools.token()}`, 'content-type': 'application/json' },
      credentials: 'include',
      body: JSON.stringify({ channels: channels.map((name) => this._name(name)).join(' ') }),
    });
    const granted = response.ok ? ((await response.json()) as TokenDetails) : null;
    if (!granted && response.status !== FORBIDDEN) throw new Refusal(response.status);
    const names = Object.keys(JSON.parse(granted?.capability ?? '{}') as Fields);
    this._covered = new Set(channels.filter((name) => names.includes(this._name(name))));
    return granted;
  }

  private _attach(channel: string): void {
    const there = this._there(channel);
    there.unsubscribe();
    there.off();
    // Attached anew, or with a hole that Ably knows of: the log is asked what was missed.
    there.on(['attached', 'update'], () => this._live && this._handlers.subscribed(channel));
    there.on(['failed', 'suspended'], ({ reason }) => this._refuse(channel, attachStatus(reason), String(reason)));
    void there.subscribe(({ data }: Message) => this._handlers.received(parse(data))).catch(() => {});
    if (there.state === 'attached') this._handlers.subscribed(channel);
  }

  private _refuse(channel: string, status: number, message: string): void {
    if (this._live && this._wanted.has(channel)) this._handlers.refused(channel, status, message);
  }

  private _there(channel: string): RealtimeChannel {
    return this._ably.channels.get(this._name(channel));
  }

  private _name(channel: string): string {
    return `${this._tools.options.channel_prefix}${channel}`;
  }
}

/** The bridge's answer to a question for permission. */
class Refusal extends Error {
  constructor(readonly status: number) {
    super(`the bridge answered ${status} when it was asked for permission`);
  }
}

function statusOf(error: unknown): number {
  return error instanceof Refusal ? error.status : UNAVAILABLE;
}

function attachStatus(reason: ErrorInfo | undefined): number {
  return reason?.code === NOT_COVERED ? FORBIDDEN : UNAVAILABLE;
}

function placeOf({ endpoint, port, tls }: Fields): object {
  const place = port == null ? {} : { [tls ? 'tlsPort' : 'port']: Number(port) };
  return { endpoint: String(endpoint), tls: !!tls, ...place };
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch {
    return null;
  }
}
