/**
 * Transport by a hosted provider: the provider pushes events, and the log is read over HTTP. The
 * file is loaded on demand; it gets the client's code as `TransportTools`.
 */

import { CloseCode } from '../../close-codes.js';
import type { ClientMessage, Fields, ServerMessage } from '../../messages.js';
import type { Transport, TransportHandlers, TransportTools } from '../transport.js';
import { LogFetcher } from './log-fetcher.js';
import { PositionChecker } from './position-checker.js';
import { PRESENCE } from './provider.js';
import type { OpenProvider, Provider, ProviderHandlers, ProviderMember } from './provider.js';

const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const UNAVAILABLE = 503;

/** Name of the events by which the bridge announces a revocation: ask it for this client's access. */
const REVOKED = '@realtime.revoked';

/** Number of the last event about members in this page: each needs an id of its own. */
let memberEvents = 0;

export class HostedTransport implements Transport, ProviderHandlers {
  private _provider: Provider | null = null;
  private _closed = false;
  private _silence: ReturnType<typeof setTimeout> | undefined;
  /** Subscriptions without an answer of the provider, with their time limits. */
  private readonly _unanswered = new Map<string, ReturnType<typeof setTimeout>>();
  /** Channels whose events the provider pushes. */
  private readonly _subscribed = new Set<string>();
  /** Channels of which the log has more: no late event can fill their gap. */
  private readonly _urgent = new Set<string>();
  private readonly _timers = new Set<ReturnType<typeof setTimeout>>();
  private readonly _fetcher: LogFetcher;
  private readonly _checker: PositionChecker;

  constructor(
    open: OpenProvider,
    private readonly _tools: TransportTools,
    private readonly _handlers: TransportHandlers,
  ) {
    this._fetcher = new LogFetcher(_tools, {
      message: (message) => {
        if (message.more) this._urgent.add(String(message.channel));
        this._forward(message);
      },
      failed: (channels, status) => this._onFetchFailed(channels, status),
    });
    this._checker = new PositionChecker(_tools, {
      channels: () => [...this._subscribed],
      message: (message) => this._forward(message),
      failed: () => this.lost('the provider delivers nothing', CloseCode.UNDELIVERED),
      denied: (status) => this.lost(`the bridge answered ${status}`, CloseCode.TOKEN),
    });
    const { options, request, token, timing: { tokenBatchDelay } } = _tools;
    const channels = () => [...Object.keys(_tools.positions()), _tools.control()].filter((name) => name !== null);
    const authURL = _tools.url('auth');
    const tools = { tokenBatchDelay, options: options(), authURL, request, token, channels };
    open(tools, this).then(
      // The transport may have been closed while the SDK was loaded.
      (provider) => (this._closed ? provider.close() : (this._provider = provider)),
      (error: Error) => this.lost(error.message),
    );
  }

  send(message: ClientMessage): void {
    if (message.type === 'connect') this._welcome(message.nonce);
    else if (message.type === 'subscribe') this._subscribe(message.channel);
    else if (message.type === 'unsubscribe') for (const channel of message.channels) this._unsubscribe(channel);
    else if (message.type === 'ping') this._provider?.ping();
    else {
      this._provider?.renew();
      this._welcome(message.nonce);
    }
  }

  close(): void {
    this._closed = true;
    for (const timer of [...this._timers, ...this._unanswered.values(), this._silence]) clearTimeout(timer);
    this._checker.stop();
    this._fetcher.stop();
    this._provider?.close();
  }

  connected(): void {
    if (this._closed) return;
    this._handlers.opened();
    this._watch();
    const control = this._tools.control();
    if (control) this._provider?.subscribe(control);
    if (this._tools.guarantee() === 'log') this._checker.start();
  }

  lost(reason: string, code: number = CloseCode.ABNORMAL): void {
    if (this._closed) return;
    this.close();
    this._handlers.closed(code, reason);
  }

  alive(): void {
    this._watch();
    this._forward({ type: 'pong' });
  }

  subscribed(channel: string): void {
    if (channel === this._tools.control()) return;
    this._settle(channel);
    this._subscribed.add(channel);
    if (this._tools.guarantee() === 'log') {
      // An answer from before the subscription would lack events that the provider did not push yet.
      this._later(this._tools.timing.fetchAfterSubscribing, () => this._fetcher.request(channel));
      return;
    }
    this._forward({ type: 'reset', channel, reason: 'signal' });
    this._forward({ type: 'subscribed', channel });
  }

  members(channel: string, members: readonly ProviderMember[]): void {
    this._settle(channel);
    this._subscribed.add(channel);
    // No log has these events, so they have no positions.
    this._forward({ type: 'reset', channel, reason: 'signal' });
    this._forward({ type: 'subscribed', channel });
    this._forwardMembers(channel, 'presence.members', { data: members });
  }

  changed(channel: string, data: ProviderMember, isPresent: boolean): void {
    const { key } = data;
    if (isPresent) this._forwardMembers(channel, 'presence.joined', { key, data });
    else this._forwardMembers(channel, 'presence.left', { key, data, fold: 'end' });
  }

  refused(channel: string, status: number, message: string): void {
    if (status === UNAUTHORIZED) this.lost(message, CloseCode.TOKEN);
    else if (channel !== this._tools.control()) this._refuse(channel, status, message);
  }

  received(data: unknown): void {
    const { type, channel, ...rest } = (data ?? {}) as Fields;
    if (this._closed || (type !== 'event' && type !== 'stub')) return;
    this._watch();
    if (rest.event === REVOKED) {
      this._checker.checkAccess();
      return;
    }
    this._checker.eventReceived();
    if (type === 'stub') this._urgent.add(String(channel));
    this._forward({ type, channel, ...rest });
  }

  private _welcome(nonce: string): void {
    queueMicrotask(() => this._forward({ type: 'welcome', nonce }));
  }

  /** Subscribe to the channel the first time; later, request missing events from the log. */
  private _subscribe(channel: string): void {
    if (!this._subscribed.has(channel) || channel.startsWith(PRESENCE)) {
      this._settle(channel);
      this._unanswered.set(channel, setTimeout(() => this._onUnanswered(channel), this._tools.timing.providerAnswer));
      this._provider?.subscribe(channel);
    } else if (this._urgent.delete(channel)) this._fetcher.request(channel);
    else {
      // Providers may deliver out of order: the missing event is often next.
      const wait = this._tools.timing.reorderAllowance * (1 + Math.random() / 2);
      this._later(wait, () => this._fetcher.request(channel));
    }
  }

  private _unsubscribe(channel: string): void {
    this._settle(channel);
    this._subscribed.delete(channel);
    this._provider?.unsubscribe(channel);
  }

  /** End the time limit of the provider's answer. */
  private _settle(channel: string): void {
    clearTimeout(this._unanswered.get(channel));
    this._unanswered.delete(channel);
  }

  /** Go on without a channel that the provider does not answer; a later answer still counts. */
  private _onUnanswered(channel: string): void {
    this._refuse(channel, UNAVAILABLE, 'the provider does not answer');
  }

  /** Report a channel that the provider does not push: for good, or until the next attempt. */
  private _refuse(channel: string, code: number, message: string): void {
    this._settle(channel);
    this._subscribed.delete(channel);
    this._forward({ type: 'refused', channel, code, message });
  }

  /** Forward an event about members, unless it came before them all. */
  private _forwardMembers(channel: string, event: string, fields: Fields): void {
    if (this._subscribed.has(channel)) this._forward({ type: 'event', channel, event, id: `member-${++memberEvents}`, ...fields });
  }

  private _onFetchFailed(channels: string[], status: number): void {
    if (status === UNAUTHORIZED || status === FORBIDDEN) this.lost(`a poll was answered ${status}`, CloseCode.TOKEN);
    const message = 'the log does not answer';
    for (const channel of channels) this._forward({ type: 'refused', channel, code: UNAVAILABLE, message });
  }

  /** Ping the provider after a period without a sign of life. */
  private _watch(): void {
    if (this._closed) return;
    clearTimeout(this._silence);
    this._silence = setTimeout(() => this._provider?.ping(), this._tools.timing.providerSilence);
  }

  private _later(milliseconds: number, call: () => void): void {
    const timer = setTimeout(() => {
      this._timers.delete(timer);
      call();
    }, milliseconds);
    this._timers.add(timer);
  }

  private _forward(message: ServerMessage): void {
    if (this._closed) return;
    // Nothing is delivered after a denial, whatever the provider still pushes.
    if (message.type === 'refused' && message.code === FORBIDDEN) this._unsubscribe(String(message.channel));
    this._handlers.message(message);
  }
}
