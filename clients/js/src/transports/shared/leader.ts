/** Leader: the page that has the connection to the server, and relays it to the other tabs. */

import { CloseCode } from '../../close-codes.js';
import type { ClientMessage, ServerMessage } from '../../messages.js';
import type { Position } from '../../types.js';
import type { OpenTransport, Transport, TransportHandlers } from '../transport.js';
import type { Output } from './relay-channel.js';
import { Relay } from './relay.js';
import type { Page, Role } from './role.js';
import { whenFree } from './tab-lock.js';
import type { TabMessage } from './tab-messages.js';

export class Leader implements Role, TransportHandlers {
  private readonly _relay: Relay;
  private readonly _socket: Transport;
  private readonly _followers = new Set<string>();
  private readonly _released = new AbortController();
  /** Number of this leader among all; null while another page of the tab's client leads. */
  private _term: number | null = null;
  private _isReady = false;
  /** Time of the first ping for a follower since the server's last message. */
  private _askedAt = Infinity;
  private _timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly _page: Page,
    open: OpenTransport,
  ) {
    this._relay = new Relay(_page.tools.channelLimit());
    this._socket = open(_page.tools, this);
    // The session counts the time of its first connection alone.
    if (_page.connect) this._timer = setTimeout(() => this._onSilent(), _page.tools.timing.probeTimeout);
  }

  /** Announce this leader to the other tabs. */
  lead(term: number): void {
    this._term = term;
    this._announce();
  }

  send(message: ClientMessage): void {
    // Before `welcome` only `connect` counts: all else is requested again after it.
    if (this._isReady || message.type === 'connect') this._perform(this._relay.session(message));
  }

  receive(message: TabMessage): void {
    // The timers of a hidden page are slow, so its own session may not notice for minutes.
    if (performance.now() - this._askedAt > this._page.tools.timing.answerTimeout) this._onSilent();
    else if (message.type === 'hello') this._announce();
    else if (message.leader !== this._page.id || !('follower' in message)) return;
    else if (message.type === 'join') this._join(message.follower, message.channel, message.position);
    else if (message.type === 'leave') this._perform(this._relay.leave(message.follower, message.channels));
    else {
      this._askedAt = Math.min(this._askedAt, performance.now());
      this._perform(this._relay.ping(message.follower, message.nonce));
    }
  }

  close(code: number): void {
    clearTimeout(this._timer);
    this._released.abort();
    this._socket.close(code);
  }

  opened(): void {
    const { connect, tools } = this._page;
    // Not null: the session has connected before, by another leader.
    if (connect) this._socket.send({ ...connect, token: tools.token() });
    else this._page.open();
  }

  message(message: ServerMessage): void {
    this._askedAt = Infinity;
    this._perform(this._relay.received(message));
  }

  closed(code: number, reason: string): void {
    this._released.abort();
    this._post({ type: 'closed', leader: this._page.id, code, reason });
    this._page.fail(code, reason);
  }

  private _onSilent(): void {
    this._socket.close(CloseCode.NORMAL);
    this.closed(CloseCode.ABNORMAL, 'the server did not answer on the socket');
  }

  private _announce(): void {
    if (this._term === null) return;
    const { health } = this._relay;
    this._post({ type: 'leader', leader: this._page.id, term: this._term, ready: this._isReady, health });
  }

  private _join(follower: string, channel: string, position: Position | null): void {
    if (!this._followers.has(follower)) this._watch(follower);
    this._perform(this._relay.join(follower, channel, position));
  }

  private _watch(follower: string): void {
    this._followers.add(follower);
    whenFree(`${this._page.name}/${follower}`, this._released.signal, () => {
      this._followers.delete(follower);
      if (!this._released.signal.aborted) this._perform(this._relay.remove(follower));
    });
  }

  private _perform(outputs: readonly Output[]): void {
    for (const { to, message } of outputs) {
      // The session may have closed this transport.
      if (this._released.signal.aborted) return;
      if (to === 'server') this._socket.send(message);
      else if (to === 'session') this._toSession(message);
      else this._post({ type: 'relay', leader: this._page.id, to, message });
    }
  }

  private _toSession(message: ServerMessage): void {
    const isFirst = message.type === 'welcome' && message.nonce === this._page.connect?.nonce && !this._isReady;
    if (!isFirst) {
      this._page.deliver(message);
      return;
    }
    clearTimeout(this._timer);
    this._isReady = true;
    this._announce();
    this._page.welcome(message);
  }

  private _post(message: TabMessage): void {
    if (this._term !== null) this._page.post(message);
  }
}
