/** One connection of ours: it introduces itself, keeps its subscriptions, and reads what comes. */

import { debug } from '../browser/debug.js';
import {
  VERSION,
  isFields,
  milliseconds,
  readEvent,
  readEvents,
  readPosition,
} from '../messages.js';
import type { ClientFrame, Fields, Frame } from '../messages.js';
import type { Channels } from '../channels/subscription-set.js';
import { hex } from '../browser/ids.js';
import type { Timing } from '../machine/timing.js';
import { ABNORMAL } from './transport.js';
import type { Link, LinkHandlers } from './transport.js';
import type { Input } from '../client-runner.js';
import type { Position, ResetReason, TransportName } from '../types.js';

/** Who hears of a connection, beside the machine. */
export interface ConnectionListener {
  /** Milliseconds after which a ping is sent if nothing else was. */
  readonly heartbeatInterval: number;
  readonly timing: Timing;
  /** Tell the machine what happened. */
  input(take: Input): void;
  /** `welcome` came with our nonce, and every subscription was answered. */
  ready(): void;
  /** It is over, and nothing comes of it any more. */
  ended(): void;
}

export type PushName = Exclude<TransportName, 'poll'>;

const FINAL = [400, 403];

const log = debug('connection');

export class Connection implements LinkHandlers {
  /** How it carries events. */
  push: PushName | null = null;
  private _link: Link | null = null;
  private readonly _nonce = hex(16);
  private _silence: ReturnType<typeof setTimeout> | undefined;
  private _isWelcome = false;
  private _isReady = false;
  /** The channels whose first answer makes us ready. */
  private _unanswered = new Set<string>();
  /** The positions of subscriptions without an answer yet, and those to be asked again after it. */
  private readonly _asked = new Map<string, Position | null>();
  private readonly _again = new Set<string>();
  private readonly _retries = new Set<ReturnType<typeof setTimeout>>();
  /** What is done about each type of frame; others are for newer clients. */
  private readonly _takes: Readonly<Record<string, (frame: Frame) => void>> = {
    welcome: (frame) => this._takeWelcome(frame),
    event: (frame) => this._takeEvent(frame),
    subscribed: (frame) => this._takePage(frame),
    reset: (frame) => this._takeReset(frame),
    stub: (frame) => this._takeOffset(String(frame.channel), Number(frame.offset)),
    refused: (frame) => this._takeRefusal(frame),
    heartbeat: (frame) => this._takeHeartbeat(frame),
    drain: (frame) => this._takeDrain(frame),
    status: (frame) => this._input((machine) => machine.status({ ok: isHealthy(frame) })),
    error: (frame) => log('the server says: %s (%s)', frame.message, frame.code),
  };

  constructor(
    private readonly _number: number,
    private readonly _channels: Channels,
    private readonly _listener: ConnectionListener,
  ) {}

  use(push: PushName, link: Link): void {
    this.push = push;
    this._link = link;
  }

  introduce(token: string): void {
    this._send({ type: 'connect', token, nonce: this._nonce, version: VERSION });
  }

  renew(token: string): void {
    if (this._isWelcome) this._send({ type: 'token', token });
  }

  ping(): void {
    this._send({ type: 'ping', nonce: hex(8) });
  }

  /** Ask for what follows our position; the server takes one question at a time for each channel. */
  subscribe(channel: string): void {
    if (!this._isWelcome || !this._channels.has(channel)) return;
    if (this._asked.has(channel)) {
      this._again.add(channel);
      return;
    }
    const position = this._channels.position(channel);
    this._asked.set(channel, position);
    this._send({ type: 'subscribe', channel, ...(position && { position }) });
  }

  unsubscribe(channel: string): void {
    this._answered(channel);
    if (this._isWelcome) this._send({ type: 'unsubscribe', channel });
    this._checkReady();
  }

  close(code: number): void {
    this._release();
    this._link?.close(code);
  }

  opened(): void {
    this._input((machine) => machine.opened(this._number));
  }

  closed(code: number, reason: string): void {
    log('closed with %s: %s', code, reason);
    this._release();
    this._listener.ended();
    this._input((machine) => machine.closed(this._number, code));
  }

  frame(frame: Frame): void {
    if (!this._isWelcome && frame.type !== 'welcome' && frame.type !== 'error') return;
    this._input((machine) => machine.frame(this._number));
    try {
      this._takes[frame.type]?.(frame);
    } catch (error) {
      this.close(1000);
      this.closed(ABNORMAL, String(error));
    }
    this._input(() => {});
  }

  private _takeWelcome(frame: Frame): void {
    if (this._isWelcome || frame.nonce !== this._nonce) return;
    this._isWelcome = true;
    this._unanswered = new Set(this._channels.names);
    for (const channel of this._unanswered) this.subscribe(channel);
    this._checkReady();
  }

  private _takeEvent(frame: Frame): void {
    const event = readEvent(frame);
    this._input((machine) => machine.eventReceived());
    if (this._channels.event(event)) this.subscribe(event.channel);
  }

  private _takePage(frame: Frame): void {
    const channel = String(frame.channel);
    const again = this._answered(channel);
    if (this._takeEvents(channel, frame) || again) this.subscribe(channel);
    this._checkReady();
  }

  /** Without a log there is no position to go on from. */
  private _takeEvents(channel: string, frame: Frame): boolean {
    if (!('epoch' in frame)) return false;
    const page = { events: readEvents(frame.events), top: readPosition(frame), more: !!frame.more };
    return this._channels.page(channel, page);
  }

  private _takeReset(frame: Frame): void {
    const channel = String(frame.channel);
    const position = 'epoch' in frame ? readPosition(frame) : null;
    const asked = this._asked.get(channel) ?? null;
    const reason = frame.reason as ResetReason;
    if (this._channels.reset(channel, reason, position, asked)) this.subscribe(channel);
  }

  private _takeRefusal(frame: Frame): void {
    const channel = String(frame.channel);
    this._answered(channel);
    if (FINAL.includes(Number(frame.code))) this._channels.refuse(channel, String(frame.message));
    else this._later(() => this.subscribe(channel));
    this._checkReady();
  }

  private _takeHeartbeat(frame: Frame): void {
    const offsets = isFields(frame.offsets) ? frame.offsets : {};
    for (const [channel, offset] of Object.entries(offsets)) {
      this._takeOffset(channel, Number(offset));
    }
    this._input((machine) => machine.generation(Number(frame.generation)));
  }

  private _takeOffset(channel: string, offset: number): void {
    if (this._channels.announced(channel, offset)) this.subscribe(channel);
  }

  private _takeDrain(frame: Frame): void {
    const after = milliseconds(frame.after, 0);
    const window = milliseconds(frame.window, 0);
    this._input((machine) => machine.drain(this._number, after, window));
  }

  private _send(frame: ClientFrame): void {
    clearTimeout(this._silence);
    this._silence = setTimeout(() => this.ping(), this._listener.heartbeatInterval);
    this._link?.send(frame);
  }

  private _input(take: Input): void {
    this._listener.input(take);
  }

  private _answered(channel: string): boolean {
    this._asked.delete(channel);
    this._unanswered.delete(channel);
    return this._again.delete(channel);
  }

  private _checkReady(): void {
    if (this._isReady || !this._isWelcome || this._unanswered.size) return;
    this._isReady = true;
    this._listener.ready();
  }

  private _later(call: () => void): void {
    const timer = setTimeout(() => {
      this._retries.delete(timer);
      call();
    }, this._listener.timing.subscribeRetry * (0.8 + 0.4 * Math.random()));
    this._retries.add(timer);
  }

  private _release(): void {
    this._isWelcome = false;
    clearTimeout(this._silence);
    for (const timer of this._retries) clearTimeout(timer);
  }
}

/** What a server says of the log and the backend: `ok`, or what is wrong. */
export function isHealthy(fields: Fields): boolean {
  return [fields.log, fields.backend].every((said) => said === undefined || said === 'ok');
}
