/**
 * A hosted provider shaped like a socket of ours: it carries events, the bridge is asked by HTTP for
 * what only the log knows. It is loaded where it is wanted, so what the core has too, it is given.
 */

import type { ClientFrame, Fields, Frame } from '../../messages.js';
import type { Link, LinkHandlers, LinkTools } from '../transport.js';
import { Checks } from './position-checker.js';
import { LogPolls } from './log-fetcher.js';
import type { OpenProvider, Provider, ProviderHandlers } from './provider.js';

const ABNORMAL = 1006;
const TOKEN = 4401;
const UNAUTHORIZED = 401;

export class HostedLink implements Link, ProviderHandlers {
  private _provider: Provider | null = null;
  private _closed = false;
  private _heard = false;
  /** The channels whose events the provider carries. */
  private readonly _carried = new Set<string>();
  /** Those of which the log has more for sure: nothing that is late will fill the gap. */
  private readonly _urgent = new Set<string>();
  private readonly _timers = new Set<ReturnType<typeof setTimeout>>();
  private readonly _polls: LogPolls;
  private readonly _checks: Checks;

  constructor(
    open: OpenProvider,
    private readonly _tools: LinkTools,
    private readonly _handlers: LinkHandlers,
  ) {
    this._polls = new LogPolls(_tools, {
      frame: (frame) => {
        if (frame.more) this._urgent.add(String(frame.channel));
        this._tell(frame);
      },
      failed: (channels, status) => this._notPolled(channels, status),
    });
    this._checks = new Checks(_tools, {
      channels: () => [...this._carried],
      frame: (frame) => this._tell(frame),
      useless: () => this.lost('the provider delivers nothing'),
    });
    const { options, token, timing: { tokenBatchDelay } } = _tools;
    const channels = () => Object.keys(_tools.positions());
    const tools = { tokenBatchDelay, options: options(), authUrl: _tools.url('auth'), token, channels };
    open(tools, this).then(
      (provider) => (this._closed ? provider.close() : (this._provider = provider)),
      (error: unknown) => this.lost(String(error)),
    );
  }

  send(frame: ClientFrame): void {
    if (frame.type === 'connect') queueMicrotask(() => this._tell({ type: 'welcome', nonce: frame.nonce }));
    else if (frame.type === 'subscribe') this._subscribe(frame.channel);
    else if (frame.type === 'unsubscribe') this._unsubscribe(frame.channel);
    else if (frame.type === 'ping') this._provider?.ping();
    else this._provider?.renew();
  }

  close(): void {
    this._closed = true;
    for (const timer of this._timers) clearTimeout(timer);
    this._checks.stop();
    this._polls.stop();
    this._provider?.close();
  }

  connected(): void {
    if (this._closed) return;
    this._handlers.opened();
    this._listen();
    if (this._tools.guarantee() === 'log') this._checks.start();
  }

  lost(reason: string, code = ABNORMAL): void {
    if (this._closed) return;
    this.close();
    this._handlers.closed(code, reason);
  }

  alive(): void {
    this._heard = true;
    this._tell({ type: 'pong' });
  }

  subscribed(channel: string): void {
    this._carried.add(channel);
    if (this._tools.guarantee() === 'log') {
      this._polls.ask(channel);
      return;
    }
    this._tell({ type: 'reset', channel, reason: 'signal' });
    this._tell({ type: 'subscribed', channel });
  }

  refused(channel: string, status: number, message: string): void {
    if (status === UNAUTHORIZED) this.lost(message, TOKEN);
    else this._tell({ type: 'refused', channel, code: status, message });
  }

  received(frame: unknown): void {
    const { type, channel, ...rest } = (frame ?? {}) as Fields;
    if (this._closed || (type !== 'event' && type !== 'stub')) return;
    this._checks.pushed();
    if (type === 'stub') this._urgent.add(String(channel));
    this._tell({ type, channel, ...rest });
  }

  /** The first time the provider is asked for the channel; later, the log for what is missing. */
  private _subscribe(channel: string): void {
    if (!this._carried.has(channel)) this._provider?.subscribe(channel);
    else if (this._urgent.delete(channel)) this._polls.ask(channel);
    else this._later(this._tools.timing.reorderAllowance * (1 + Math.random() / 2), () => this._polls.ask(channel));
  }

  private _unsubscribe(channel: string): void {
    this._carried.delete(channel);
    this._provider?.unsubscribe(channel);
  }

  private _notPolled(channels: string[], status: number): void {
    if (status === UNAUTHORIZED) this.lost('a poll was answered 401', TOKEN);
    const message = 'the log does not answer';
    for (const channel of channels) this._tell({ type: 'refused', channel, code: 503, message });
  }

  private _listen(): void {
    this._later(this._tools.timing.providerSilence, () => {
      if (!this._heard) this._provider?.ping();
      this._heard = false;
      this._listen();
    });
  }

  private _later(milliseconds: number, call: () => void): void {
    const timer = setTimeout(() => {
      this._timers.delete(timer);
      call();
    }, milliseconds);
    this._timers.add(timer);
  }

  private _tell(frame: Frame): void {
    if (!this._closed) this._handlers.frame(frame);
  }
}
