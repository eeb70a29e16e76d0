/** Session on one transport: its `connect` message, its subscriptions, and the messages it receives. */

import { debug } from '../browser/debug.js';
import { hex } from '../browser/ids.js';
import { FORBIDDEN, applyPage } from '../channels/poll-result.js';
import type { SubscriptionSet } from '../channels/subscription-set.js';
import type { MachineInput } from '../client-runner.js';
import { CloseCode } from '../close-codes.js';
import type { Timing } from '../machine/timing.js';
import { FINAL, INVALID_MESSAGE, VERSION, isFields, isHealthy, isText, milliseconds, numberOr, readEvent, readPosition } from '../messages.js';
import type { ClientMessage, ServerMessage } from '../messages.js';
import type { ResetReason, TransportName } from '../types.js';
import { PING, Requests, TOKEN } from './requests.js';
import type { Transport, TransportHandlers } from './transport.js';

/** Receiver of a session's progress. */
export interface SessionListener {
  /** Time without a sent message after which a ping is sent, in milliseconds. */
  readonly heartbeatInterval: number;
  readonly timing: Timing;
  /** Report the cause of a lost connection to developers; `code` is that of a refusal. */
  failed(reason: string, code: string | null): void;
  /** Pass an input to the machine. */
  input(apply: MachineInput): void;
  /** Handle readiness: `welcome` has our nonce, and each subscription was answered. */
  ready(): void;
  /** Handle the end; the session reports nothing afterwards. */
  ended(): void;
}

export type PushName = Exclude<TransportName, 'poll'>;

const TOO_MANY_REQUESTS = 429;

const log = debug('session');

export class TransportSession implements TransportHandlers {
  /** Name of the transport. */
  push: PushName | null = null;
  private _transport: Transport | null = null;
  private readonly _nonce = hex(16);
  private _pingNonce = '';
  /** Code of the refusal in the server's last `error`. */
  private _refusal: string | null = null;
  private _refusalMessage: string | null = null;
  /** Requests that the server has not answered, and the channels that the transport carries. */
  readonly requests: Requests;
  private _heartbeat: ReturnType<typeof setTimeout> | undefined;
  private _isWelcome = false;
  private _isReady = false;
  /** Handlers by message type; newer servers may send further types, which are ignored. */
  private readonly _messageHandlers: Readonly<Record<string, (message: ServerMessage) => void>> = {
    welcome: (message) => this._onWelcome(message),
    event: (message) => this._onEvent(message),
    subscribed: (message) => this._onSubscribed(message),
    reset: (message) => this._onReset(message),
    stub: (message) => this._onOffset(String(message.channel), Number(message.offset)),
    refused: (message) => this._onRefused(message),
    heartbeat: (message) => this._onHeartbeat(message),
    // The provider's and the stream's own pong shows nothing about the server.
    pong: ({ nonce }) => this.requests.answered(PING, nonce === this._pingNonce),
    drain: (message) => this._onDrain(message),
    status: (message) => this._reportHealth(message),
    error: (message) => this._onError(message),
  };

  /** `socket` is the machine's number of this transport. */
  constructor(
    private readonly _socket: number,
    private readonly _subscriptions: SubscriptionSet,
    private readonly _listener: SessionListener,
  ) {
    this.requests = new Requests(
      _socket,
      _subscriptions,
      _listener.timing,
      (apply) => this._input(apply),
      (message) => this._send(message),
    );
  }

  use(push: PushName, transport: Transport): void {
    this.push = push;
    this._transport = transport;
  }

  sendConnect(token: string): void {
    this._send({ type: 'connect', token, nonce: this._nonce, version: VERSION });
  }

  sendToken(token: string): void {
    if (!this._isWelcome) return;
    this.requests.ask(TOKEN);
    this._send({ type: 'token', token, nonce: this._nonce });
  }

  ping(): void {
    this._pingNonce = hex(8);
    this.requests.ask(PING);
    this._send({ type: 'ping', nonce: this._pingNonce });
  }

  /** End the subscriptions of channels by one message: the server limits the number of messages. */
  unsubscribe(channels: readonly string[]): void {
    this.requests.unsubscribe(channels);
    this._checkReady();
  }

  close(code: number): void {
    this._release();
    this._transport?.close(code);
  }

  opened(): void {
    this._input((machine) => machine.opened(this._socket));
  }

  closed(code: number, reason: string): void {
    const message = this._refusalMessage ?? (reason || null);
    this._listener.failed(`closed with ${code}${message ? `: ${message}` : ''}`, this._refusal);
    this._release();
    this._listener.ended();
    this._input((machine) => machine.closed(this._socket, code, this._refusal, message));
  }

  message(message: ServerMessage): void {
    // Only a `welcome` with our nonce shows that a bridge answers, and not a proxy on the way.
    if (!this._isWelcome && message.type !== 'welcome' && message.type !== 'error') return;
    if (this._isReady) this._input((machine) => machine.messageReceived(this._socket));
    try {
      this._messageHandlers[message.type]?.(message);
    } catch (error) {
      log('invalid message: type=%s error=%s', message.type, error);
      this.close(CloseCode.NORMAL);
      this.closed(CloseCode.ABNORMAL, INVALID_MESSAGE);
    }
    // The message may have changed whether all channels are current: an empty input updates the status.
    this._input(() => {});
  }

  private _onWelcome(message: ServerMessage): void {
    if (message.nonce !== this._nonce) return;
    if (message.restarted) this._input((machine) => machine.clockChanged(this._socket));
    this._reportHealth(message);
    this.requests.answered(TOKEN);
    if (this._isWelcome) {
      // What is published meanwhile arrives after the answers: they have deadlines again.
      if (message.restarted) this.requests.restart();
      return;
    }
    this._isWelcome = true;
    this.requests.start();
    this._checkReady();
  }

  private _onEvent(message: ServerMessage): void {
    const event = readEvent(message);
    if (!event) return this._skip(message);
    this._input((machine) => machine.eventReceived());
    if (this._subscriptions.event(event)) this.requests.subscribe(event.channel);
  }

  /** Handle a pushed event that is unreadable; a page of the log resets the channel. */
  private _skip({ channel, offset }: ServerMessage): void {
    if (typeof offset === 'number') this._onOffset(String(channel), offset);
    else this._subscriptions.reset(String(channel), 'signal', null, null);
  }

  private _onSubscribed(message: ServerMessage): void {
    const channel = String(message.channel);
    const requested = this.requests.asked.get(channel) ?? null;
    const again = this.requests.subscribed(channel);
    // In signal mode there is no log, and so no position to resume from.
    const recover =
      'epoch' in message && applyPage(this._subscriptions, channel, message, readPosition(message), requested);
    if (recover || again) this.requests.subscribe(channel);
    this._checkReady();
  }

  private _onReset(message: ServerMessage): void {
    const channel = String(message.channel);
    const position = 'epoch' in message ? readPosition(message) : null;
    const requested = this.requests.asked.get(channel) ?? null;
    if (message.reason === 'forbidden') {
      this._deny(channel, FORBIDDEN);
      return;
    }
    const reason = message.reason as ResetReason;
    if (this._subscriptions.reset(channel, reason, position, requested)) this.requests.subscribe(channel);
  }

  private _onRefused(message: ServerMessage): void {
    const channel = String(message.channel);
    const code = Number(message.code);
    if (FINAL.includes(code)) this._deny(channel, String(message.message));
    else this.requests.refused(channel, code === TOO_MANY_REQUESTS);
    this._checkReady();
  }

  private _onHeartbeat(message: ServerMessage): void {
    const offsets = isFields(message.offsets) ? message.offsets : {};
    for (const [channel, offset] of Object.entries(offsets)) this._onOffset(channel, Number(offset));
    this._reportHealth(message);
    this._input((machine) => machine.generation(Number(message.generation)));
  }

  private _reportHealth(message: ServerMessage): void {
    const health = { ok: isHealthy(message), sent: numberOr(null, message.time) };
    this._input((machine) => machine.health(this._socket, health));
  }

  private _onOffset(channel: string, offset: number): void {
    if (this._subscriptions.announced(channel, offset)) this.requests.subscribe(channel);
  }

  private _onDrain(message: ServerMessage): void {
    const after = milliseconds(message.after, 0);
    const window = milliseconds(message.window, 0);
    this._input((machine) => machine.drain(this._socket, after, window));
  }

  private _onError({ code, reason, message }: ServerMessage): void {
    log('server error: code=%s message=%s', code, message);
    this._refusal = isText(reason) ? reason : null;
    this._refusalMessage = isText(message) ? message : null;
  }

  private _send(message: ClientMessage): void {
    clearTimeout(this._heartbeat);
    const { heartbeatInterval } = this._listener;
    // A timer without an end would fire at once.
    if (heartbeatInterval < Infinity) this._heartbeat = setTimeout(() => this.ping(), heartbeatInterval);
    this._transport?.send(message);
  }

  private _input(apply: MachineInput): void {
    this._listener.input(apply);
  }

  private _checkReady(): void {
    if (this._isReady || !this._isWelcome || this.requests.unanswered.size) return;
    this._isReady = true;
    this._listener.ready();
  }

  private _deny(channel: string, reason: string): void {
    this._subscriptions.deny(channel, reason);
    this.requests.leave(channel);
  }

  private _release(): void {
    this._isWelcome = false;
    this.requests.release();
    clearTimeout(this._heartbeat);
  }
}
