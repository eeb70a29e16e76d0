/** Provider Ably, by ably-js with a token for our channels and without its own reconnects. */

import type { ErrorInfo, Message, PresenceMessage, Realtime, RealtimeChannel, TokenDetails, TokenRequest } from 'ably';
import { isDevelopment } from '../../browser/development.js';
import type { Fields } from '../../messages.js';
import type { TransportHandlers, TransportTools } from '../transport.js';
import { HostedTransport } from './hosted-transport.js';
import { PRESENCE } from './provider.js';
import type { Provider, ProviderHandlers, ProviderMember, ProviderTools } from './provider.js';

type Client = typeof Realtime;

/** Answer of the bridge: a token, or where that would be too long for a URL, a request for one. */
type Token = (TokenDetails | TokenRequest) & { failed?: string[] };

const MALFORMED = 400;
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const INTERNAL_ERROR = 500;
const UNAVAILABLE = 503;

/** Ably's code for a channel that the token does not cover. */
const NOT_COVERED = 40160;
/** Ably's code for a channel that has no room for another member. */
const NO_ROOM = 91003;

export function open(tools: TransportTools, handlers: TransportHandlers): HostedTransport {
  return new HostedTransport(openAbly, tools, handlers);
}

export async function openAbly(tools: ProviderTools, handlers: ProviderHandlers): Promise<Provider> {
  const provider = new AblyProvider(await load(), tools, handlers);
  void provider.open();
  return provider;
}

async function load(): Promise<Client> {
  // Within `try`, bundlers only warn about a missing package: it is needed where Ably is used.
  try {
    const sdk = await import('ably');
    return sdk.Realtime ?? (sdk as unknown as { default: { Realtime: Client } }).default.Realtime;
  } catch (cause) {
    const reason = 'ably is missing, and this deployment delivers by Ably: npm install ably';
    // The page polls, which may not be noticed.
    if (isDevelopment()) console.warn(`realtime-bridge: ${reason}`);
    throw new Error(reason, { cause });
  }
}

class AblyProvider implements Provider {
  private readonly _ably: Realtime;
  private _live = true;
  private _isOpen = false;
  /** Subscribed channels, by our names. */
  private readonly _channels = new Set<string>();
  /** Channels that wait for a token. */
  private _waiting = new Set<string>();
  /** Channels of the current token. */
  private _covered = new Set<string>();
  /** Token for the SDK's next request of one. */
  private _token: Token | null = null;
  /** Channels whose rule failed in the last request for a token. */
  private _failed = new Set<string>();
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private readonly _released = new AbortController();

  constructor(
    client: Client,
    private readonly _tools: ProviderTools,
    private readonly _handlers: ProviderHandlers,
  ) {
    this._ably = new client({
      ...addressOf(_tools.options),
      autoConnect: false,
      // Where WebSockets are blocked, the client polls; the SDK would contact further hosts of Ably.
      transports: ['web_socket'],
      disableConnectivityCheck: true,
      useBinaryProtocol: false,
      logLevel: 0,
      authCallback: (_, answer) => {
        this._takeToken().then(
          (details) => answer(null, details),
          (error: Refusal) => {
            answer(String(error), null);
            // A token was revoked: no further attempt of the SDK is needed to know it.
            if (error.status === UNAUTHORIZED) this._handlers.refused('', UNAUTHORIZED, String(error));
          },
        );
      },
    });
    const { connection } = this._ably;
    connection.on('connected', () => this._onOpen());
    // ably-js would reconnect by itself, but the machine decides when.
    connection.on(['disconnected', 'suspended', 'failed', 'closed'], ({ current, reason }) =>
      this._lose(`Ably is ${current}: ${reason?.message ?? 'no reason given'}`),
    );
  }

  /** Connect with a token for the channels; without channels there is nothing to connect for. */
  async open(): Promise<void> {
    const channels = this._tools.channels();
    try {
      if (channels.length) await this._cover(channels);
    } catch (error) {
      if (this._live) this._handlers.refused(channels[0]!, statusOf(error), String(error));
    }
    if (!this._covered.size) this._onOpen();
  }

  subscribe(channel: string): void {
    this._channels.add(channel);
    if (this._covered.has(channel)) {
      this._attach(channel);
      return;
    }
    this._waiting.add(channel);
    this._timer ??= setTimeout(() => void this._authorize(), this._tools.tokenBatchDelay);
  }

  unsubscribe(channel: string): void {
    this._channels.delete(channel);
    this._waiting.delete(channel);
    const ablyChannel = this._channel(channel);
    ablyChannel.unsubscribe();
    ablyChannel.presence.unsubscribe();
    ablyChannel.off();
    // The user leaves with the channel.
    ablyChannel.detach().catch(() => {});
  }

  ping(): void {
    if (this._covered.size) this._ably.connection.ping().then(() => this._handlers.alive(), () => {});
    else this._handlers.alive();
  }

  /** Do nothing: the SDK requests another token in time, with our token of that moment. */
  renew(): void {}

  close(): void {
    this._live = false;
    clearTimeout(this._timer);
    this._released.abort();
    this._ably.close();
  }

  private _onOpen(): void {
    if (!this._live || this._isOpen) return;
    this._isOpen = true;
    this._handlers.connected();
  }

  private _lose(reason: string): void {
    if (!this._live) return;
    this._live = false;
    this._handlers.lost(reason);
  }

  /** Get a token that covers the waiting channels too, then attach them. */
  private async _authorize(): Promise<void> {
    this._timer = undefined;
    const channels = [...this._waiting];
    this._waiting = new Set();
    try {
      await this._cover([...this._channels]);
    } catch (error) {
      for (const channel of channels) this._refuse(channel, statusOf(error), String(error));
      return;
    }
    for (const channel of channels) {
      if (this._covered.has(channel)) this._attach(channel);
      else this._refuse(channel, this._failed.has(channel) ? INTERNAL_ERROR : FORBIDDEN, 'this user may not listen to it');
    }
  }

  /** Give the connection a token for those channels that the user may listen to. */
  private async _cover(channels: string[]): Promise<void> {
    this._token = await this._requestToken(channels);
    if (this._live && this._token) await this._ably.auth.authorize();
  }

  private async _takeToken(): Promise<Token> {
    const details = this._token ?? (await this._requestToken([...this._channels]));
    this._token = null;
    if (!details) throw new Refusal(FORBIDDEN);
    return details;
  }

  /** Request a token from the bridge; return null where it grants no channel. */
  private async _requestToken(channels: string[]): Promise<Token | null> {
    const body = { channels: channels.map((name) => this._name(name)).join(' ') };
    const options = { body, token: this._tools.token(), signal: this._released.signal };
    const details = await this._tools.request(this._tools.authURL, options).then(
      (response) => response.json() as Promise<Token>,
      ({ status }: { status?: number | null }) => {
        if (status !== FORBIDDEN) throw new Refusal(status ?? UNAVAILABLE);
        return null;
      },
    );
    const names = Object.keys(JSON.parse(details?.capability ?? '{}') as Fields);
    this._covered = new Set(channels.filter((name) => names.includes(this._name(name))));
    this._failed = new Set(channels.filter((name) => details?.failed?.includes(this._name(name))));
    return details;
  }

  private _attach(channel: string): void {
    const ablyChannel = this._channel(channel);
    ablyChannel.unsubscribe();
    ablyChannel.off();
    if (channel.startsWith(PRESENCE)) {
      void this._enter(channel, ablyChannel);
      return;
    }
    // `update` reports a loss of continuity: missing events are then read from the log.
    ablyChannel.on(['attached', 'update'], () => this._live && this._handlers.subscribed(channel));
    this._watchFailure(channel, ablyChannel);
    const listen = () => ablyChannel.subscribe(({ data }: Message) => this._handlers.received(parse(data)));
    // A channel that failed refuses a subscription until it is attached again.
    (ablyChannel.state === 'failed' ? ablyChannel.attach().then(listen) : listen()).catch(() => {});
    if (ablyChannel.state === 'attached') this._handlers.subscribed(channel);
  }

  /** Make the user present, and report the members from now on. */
  private async _enter(channel: string, ablyChannel: RealtimeChannel): Promise<void> {
    const { presence } = ablyChannel;
    presence.unsubscribe();
    try {
      await presence.subscribe((message) => {
        if (this._live) this._handlers.changed(channel, memberOf(message), message.action !== 'leave');
      });
      await presence.enter();
      const members = await presence.get();
      if (this._live && this._channels.has(channel)) this._handlers.members(channel, members.map(memberOf));
      this._watchFailure(channel, ablyChannel);
    } catch (error) {
      this._onFailure(channel, error as ErrorInfo);
    }
  }

  private _watchFailure(channel: string, ablyChannel: RealtimeChannel): void {
    ablyChannel.on(['failed', 'suspended'], ({ reason }) => this._onFailure(channel, reason));
  }

  private _onFailure(channel: string, reason?: ErrorInfo): void {
    this._refuse(channel, attachStatus(reason), `Ably does not attach the channel: ${reason?.message}`);
  }

  private _refuse(channel: string, status: number, message: string): void {
    if (this._live && this._channels.has(channel)) this._handlers.refused(channel, status, message);
  }

  private _channel(channel: string): RealtimeChannel {
    return this._ably.channels.get(this._name(channel));
  }

  private _name(channel: string): string {
    return `${this._tools.options.channel_prefix}${channel}`;
  }
}

/** Failed authorization request. */
class Refusal extends Error {
  constructor(readonly status: number) {
    super(`the bridge answered the authorization request with ${status}`);
  }
}

function statusOf(error: unknown): number {
  return error instanceof Refusal ? error.status : UNAVAILABLE;
}

function attachStatus(reason: ErrorInfo | undefined): number {
  if (reason?.code === NO_ROOM) return MALFORMED;
  return reason?.code === NOT_COVERED ? FORBIDDEN : UNAVAILABLE;
}

/**
 * Return the member of a presence message. A client writes the data of its presence itself; the
 * claim of its token is the bridge's, and Ably adds it.
 */
function memberOf({ connectionId, clientId, extras }: PresenceMessage): ProviderMember {
  return { key: `${connectionId}:${clientId}`, user: clientId, info: parse((extras as Fields | undefined)?.userClaim) };
}

function addressOf({ endpoint, port, tls }: Fields): object {
  const address = port == null ? {} : { [tls ? 'tlsPort' : 'port']: Number(port) };
  return { endpoint: String(endpoint), tls: !!tls, ...address };
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch {
    return null;
  }
}
