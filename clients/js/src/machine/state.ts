/**
 * What the hybrid client's state machine knows, and how it polls, listens and sets its timers.
 * All times are integers in milliseconds; the rules are those of docs/semantics.md §5. Twin of state.py.
 */

import { Attempts } from './reconnect-policy.js';
import { Cadence } from './poll-schedule.js';
import { DEFAULTS } from './commands.js';
import type { Action, Command, MachineOptions, Terms } from './commands.js';
import { DEFAULT_TIMING } from './timing.js';
import type { Timing } from './timing.js';
import type { Mode } from '../types.js';

export const NORMAL = 1000;

export type Timer =
  | 'describe'
  | 'describeAgain'
  | 'refresh'
  | 'poll'
  | 'pollLimit'
  | 'hidden'
  | 'reconnect'
  | 'slow'
  | 'open'
  | 'probe'
  | 'silence'
  | 'ping'
  | 'successor'
  | 'successorOpen'
  | 'successorProbe';

/** One client's state. `timers` holds what is due when. */
export abstract class State {
  mode: Mode = 'IDLE';
  reason: string | null = null;
  terms: Terms | null = null;
  readonly timers = new Map<Timer, number>();
  started = 0;
  lastOk: number | null = null;
  behind: number | null = null;
  degraded = false;
  readonly cadence: Cadence;
  readonly attempts: Attempts;
  protected readonly _options: MachineOptions;
  protected _now = 0;
  protected _draw = 0;
  protected _commands: Command[] = [];
  protected _sockets = 0;
  protected _liveSince = 0;
  protected _refreshAt = 0;
  protected _socket: number | null = null;
  protected _successor: number | null = null;
  protected _cached: Terms | null = null;
  protected _window: number | null = null;
  protected _renewed = false;
  protected _hurry = false;
  protected _heard = false;
  protected _pollingOn = false;
  protected _pausing = false;

  constructor(
    options: Partial<MachineOptions> = {},
    readonly timing: Timing = DEFAULT_TIMING,
  ) {
    const chosen = Object.entries(options).filter(([, value]) => value !== undefined);
    this._options = { ...DEFAULTS, ...Object.fromEntries(chosen) };
    this.cadence = new Cadence(this._options.pollingInterval, timing);
    const { reconnectInterval, maxReconnectAttempts: maxAttempts } = this._options;
    this.attempts = new Attempts({ reconnectInterval, maxAttempts }, timing);
  }

  /** Whether polls are wanted now. */
  get polling(): boolean {
    if (['FALLBACK', 'UPGRADING', 'SUSPECT'].includes(this.mode)) return true;
    const connected = ['LIVE', 'PROBING', 'CONNECTING'].includes(this.mode);
    return connected && (this._pollingOn || this.degraded);
  }

  /** Whether events come by a socket that is good, from a server that says it is well. */
  get pushed(): boolean {
    return this.mode === 'LIVE' && !this.degraded;
  }

  /** Whether there is a socket that was good. */
  protected get _good(): boolean {
    return this.mode === 'LIVE' || this.mode === 'SUSPECT';
  }

  /** The longest that nothing need be heard of the server. */
  protected get _silence(): number {
    return Math.max(this._options.fallbackDelay, (this.terms?.heartbeat ?? 0) + this.timing.silenceAllowance);
  }

  protected _onPoll(): void {
    this.cadence.begin();
    this._in('pollLimit', this.timing.pollTimeout);
    this._do('poll');
  }

  /** Poll so soon, unless a poll is on its way, or comes sooner; `take` knows if at all. */
  protected _pollWithin(milliseconds: number): void {
    if (this.cadence.inFlight) return;
    const at = this.cadence.soon(this._now, this._draw, milliseconds);
    this.timers.set('poll', Math.min(at, this.timers.get('poll') ?? at));
  }

  /** Poll in place of one that may be stuck, or was sent with a token of before. */
  protected _pollAnew(within: number): void {
    if (!this.polling) return;
    this._abandonPoll();
    this._pollWithin(within);
  }

  protected _abandonPoll(): void {
    this._cancel('pollLimit');
    if (!this.cadence.inFlight) return;
    this.cadence.failed(this._now, this._draw);
    this._do('abandon');
  }

  protected _listen(): void {
    this._in('silence', this._silence);
  }

  /** Ask whether anybody is there; to ask again meanwhile gives no more time. */
  protected _ping(): void {
    if ((this.timers.get('ping') ?? 0) > this._now) return;
    this._in('ping', this.timing.pingTimeout);
    this._do('ping', this._socket);
  }

  protected _open(): number {
    this._sockets += 1;
    this._do('open', this._sockets);
    return this._sockets;
  }

  protected _closeSockets(): void {
    for (const socket of [this._socket, this._successor]) {
      if (socket !== null) this._do('close', socket, NORMAL);
    }
    this._socket = this._successor = this._window = null;
  }

  /** Bring the poll timer in line with the mode, and hand out the commands. */
  take(): Command[] {
    if (!this.polling) this._cancel('poll');
    else if (!this.cadence.inFlight && !this.timers.has('poll')) {
      this.timers.set('poll', this.cadence.next(this._now, this._draw));
    }
    if (this.pushed) this.lastOk = this._now;
    const commands = this._commands;
    this._commands = [];
    return commands;
  }

  /** Set a timer to so many milliseconds from now. */
  protected _in(name: Timer, milliseconds: number): void {
    this.timers.set(name, this._now + milliseconds);
  }

  protected _cancel(...names: readonly Timer[]): void {
    for (const name of names) this.timers.delete(name);
  }

  protected _do(action: Action, socket: number | null = null, code: number | null = null): void {
    this._commands.push({ do: action, socket, code });
  }
}
