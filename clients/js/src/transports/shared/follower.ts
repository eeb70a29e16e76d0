/** Follower: a page that uses the connection of the leader, and reads from the log what came before. */

import { CloseCode } from '../../close-codes.js';
import type { ClientMessage, Fields, ServerMessage } from '../../messages.js';
import type { Position } from '../../types.js';
import { LogFetcher } from '../hosted/log-fetcher.js';
import type { Page, Role } from './role.js';
import { isText } from './tab-messages.js';
import type { LeaderMessage, TabMessage } from './tab-messages.js';

/** Interval at which a silent leader is asked; one that does not answer within it is replaced. */
const CHECK_MS = 1_500;

/** Spread of the pages that replace a leader. Hidden pages come later: their timers are slow. */
const VISIBLE_SPREAD_MS = 300;
const HIDDEN_DELAY_MS = 1_500;

/** Statuses of a poll after which the token is renewed. */
const DENIED = [401, 403];
const UNAVAILABLE = 503;

type Timer = ReturnType<typeof setTimeout>;

export class Follower implements Role {
  /** Leader whose connection this page uses, or waits for. */
  private _leader = '';
  private _isAttached = false;
  private _health: Fields = {};
  private _check: Timer | undefined;
  /** State of the check: a leader that sent nothing is asked, then replaced. */
  private _silence: 'none' | 'quiet' | 'asked' = 'none';
  /** Channels of the session; true: the leader relays their events. */
  private readonly _joined = new Map<string, boolean>();
  /** Channels that are read from the log soon. */
  private readonly _reads = new Map<string, Timer>();
  private _fetcher: LogFetcher;

  constructor(private readonly _page: Page) {
    this._fetcher = this._newFetcher();
    this._checkLater(CHECK_MS);
  }

  send(message: ClientMessage): void {
    const { id: follower } = this._page;
    if (message.type === 'connect') this._accept(() => this._page.welcome(this._welcome(message.nonce)));
    else if (message.type === 'token') this._accept(() => this._page.deliver(this._welcome(message.nonce)));
    // Without a leader nothing is sent: the next one gets all requests.
    else if (!this._isAttached) return;
    else if (message.type === 'subscribe') this._subscribe(message.channel, message.position ?? null);
    else if (message.type === 'unsubscribe') this._leave(message.channels);
    else this._page.post({ type: 'ping', leader: this._leader, follower, nonce: message.nonce });
  }

  receive(message: TabMessage): void {
    if ('follower' in message) return;
    if (message.type === 'leader') this._follow(message);
    else if (message.leader !== this._leader) return;
    else if (message.type === 'closed') this._page.fail(message.code, message.reason);
    else this._relayed(message.to, message.message);
  }

  close(): void {
    clearTimeout(this._check);
    this._detach();
  }

  private _follow({ leader, ready, health }: LeaderMessage & { type: 'leader' }): void {
    this._silence = 'none';
    if (leader !== this._leader) this._detach();
    this._leader = leader;
    if (this._isAttached || !ready) return;
    this._isAttached = true;
    this._health = health;
    const { connect } = this._page;
    if (connect) this._page.welcome(this._welcome(connect.nonce));
    else this._page.open();
  }

  /** Stop using a leader: its answers do not hold for the next one. */
  private _detach(): void {
    this._isAttached = false;
    this._joined.clear();
    for (const timer of this._reads.values()) clearTimeout(timer);
    this._reads.clear();
    this._fetcher.stop();
    this._fetcher = this._newFetcher();
  }

  /** Answer in place of the server, which knows the leader's token: ours has the same rights. */
  private _accept(answer: () => void): void {
    queueMicrotask(() => this._isAttached && answer());
  }

  private _welcome(nonce: string): ServerMessage {
    return { type: 'welcome', nonce, ...this._health };
  }

  private _subscribe(channel: string, position: Position | null): void {
    if (this._joined.get(channel)) {
      this._readLater(channel);
      return;
    }
    this._joined.set(channel, false);
    this._page.post({ type: 'join', leader: this._leader, follower: this._page.id, channel, position });
  }

  private _leave(channels: readonly string[]): void {
    for (const channel of channels) this._forget(channel);
    this._page.post({ type: 'leave', leader: this._leader, follower: this._page.id, channels });
  }

  private _forget(channel: string): void {
    this._joined.delete(channel);
    clearTimeout(this._reads.get(channel));
    this._reads.delete(channel);
  }

  private _relayed(to: readonly string[] | null, message: ServerMessage): void {
    this._silence = 'none';
    if (!this._isAttached || (to && !to.includes(this._page.id))) return;
    const { type, channel, log, backend } = message;
    if (type === 'heartbeat' || type === 'status') this._health = { log, backend };
    if (!isText(channel) || type === 'event') this._page.deliver(message);
    // An answer to a request from before the session left the channel: the leader relays nothing more.
    else if (!this._joined.has(channel)) return;
    else if (type === 'refused' || message.reason === 'forbidden') {
      this._forget(channel);
      this._page.deliver(message);
    } else {
      this._joined.set(channel, true);
      if (type === 'joined') this._readLater(channel);
      else this._page.deliver(message);
    }
  }

  /** Read the log after a moment: servers keep the answers of polls for as long. */
  private _readLater(channel: string): void {
    if (this._reads.has(channel)) return;
    const read = () => {
      this._reads.delete(channel);
      this._fetcher.request(channel);
    };
    this._reads.set(channel, setTimeout(read, this._page.tools.timing.fetchAfterSubscribing));
  }

  private _newFetcher(): LogFetcher {
    return new LogFetcher(this._page.tools, {
      message: (message) => this._onRead(message),
      failed: (channels, status) => this._onReadFailed(channels, status),
    });
  }

  private _onRead(message: ServerMessage): void {
    // Our own token decides: without it the leader has nothing for us. A later request joins again.
    if (message.type === 'refused') this._leave([String(message.channel)]);
    // A poll reports the server's generation, and nothing about the leader's connection.
    this._page.deliver(message.type === 'heartbeat' ? { ...message, ...this._health } : message);
  }

  private _onReadFailed(channels: readonly string[], status: number): void {
    if (DENIED.includes(status)) {
      this._page.fail(CloseCode.TOKEN, `a poll was answered ${status}`);
      return;
    }
    const message = 'the log does not answer';
    for (const channel of channels) this._page.deliver({ type: 'refused', channel, code: UNAVAILABLE, message });
  }

  private _checkLater(wait: number): void {
    this._check = setTimeout(() => this._onCheck(), wait);
  }

  private _onCheck(): void {
    if (this._silence === 'asked') {
      const spread = VISIBLE_SPREAD_MS * Math.random();
      this._check = setTimeout(() => this._replace(), spread + (this._page.tools.isHidden() ? HIDDEN_DELAY_MS : 0));
      return;
    }
    if (this._silence === 'quiet') this._page.post({ type: 'hello', follower: this._page.id });
    this._silence = this._silence === 'quiet' ? 'asked' : 'quiet';
    this._checkLater(CHECK_MS);
  }

  private _replace(): void {
    // Another page may have been quicker.
    if (this._silence === 'asked') this._page.replace();
    this._silence = 'none';
    this._checkLater(CHECK_MS);
  }
}
