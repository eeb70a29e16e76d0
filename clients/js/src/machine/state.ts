/**
 * State of the hybrid client's machine, with its timers, polls and pings.
 * Times are integers in milliseconds; docs/semantics.md §5 has the rules. Twin of state.py.
 */

import { CloseCode } from '../close-codes.js';
import type { Mode } from '../types.js';
import { DEFAULTS } from './commands.js';
import type { Action, Command, MachineOptions, Terms } from './commands.js';
import { Credentials } from './credentials.js';
import { LinkHealth } from './link-health.js';
import { PollSchedule } from './poll-schedule.js';
import { ReconnectPolicy } from './reconnect-policy.js';
import { DEFAULT_TIMING } from './timing.js';
import type { Timing } from './timing.js';

export type TimerName =
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
  | 'beat'
  | 'stale'
  | 'successor'
  | 'successorOpen'
  | 'successorProbe';

/** State of one client; `timers` holds the time at which each timer fires. */
export abstract class State {
  mode: Mode = 'IDLE';
  reason: string | null = null;
  terms: Terms | null = null;
  readonly timers = new Map<TimerName, number>();
  started = 0;
  lastOk: number | null = null;
  behind: number | null = null;
  /** Number of channels that the live socket does not push: they are polled. */
  unpushed = 0;
  readonly pollSchedule: PollSchedule;
  readonly reconnectPolicy: ReconnectPolicy;
  protected readonly _credentials: Credentials;
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
  /** Window of the server's last `drain`. */
  protected _window: number | null = null;
  /** Health of each open socket. */
  protected readonly _links = new Map<number, LinkHealth>();
  /** True if the credentials were denied: another session of the user may be valid. */
  protected _mayReturn = false;
  /** True if the server of the last successful poll reported a fault. */
  protected _pollTrouble = false;
  /** True if the next descriptor leads to a socket at once. */
  protected _hurry = false;
  /** True after a socket closed because of its token, until one is live. */
  protected _tokenRefused = false;
  /** True if a message arrived since the socket became live. */
  protected _confirmed = false;
  /** True if polls go on beside a socket, until the first one ends while LIVE. */
  protected _pollingOn = false;
  /** True if the page is hidden and may pause. */
  protected _pausing = false;

  constructor(
    options: Partial<MachineOptions> = {},
    readonly timing: Timing = DEFAULT_TIMING,
  ) {
    const chosen = Object.entries(options).filter(([, value]) => value !== undefined);
    this._options = { ...DEFAULTS, ...Object.fromEntries(chosen) };
    this._credentials = new Credentials(timing.denialPatience);
    this.pollSchedule = new PollSchedule(this._options.pollingInterval, timing);
    const { reconnectInterval, maxReconnectAttempts: maxAttempts } = this._options;
    this.reconnectPolicy = new ReconnectPolicy({ reconnectInterval, maxAttempts }, timing);
  }

  /** True if the client polls now. */
  get polling(): boolean {
    if (['FALLBACK', 'UPGRADING', 'SUSPECT'].includes(this.mode)) return true;
    const connected = ['LIVE', 'PROBING', 'CONNECTING'].includes(this.mode);
    return connected && (this._pollingOn || this.trouble !== null || this.unpushed > 0);
  }

  /** Reason why events do not arrive in time by the socket; null while they do. */
  get trouble(): string | null {
    return this._links.get(this._socket ?? 0)?.trouble ?? null;
  }

  /** True if a live socket pushes events, and shows no trouble. */
  get pushed(): boolean {
    return this.mode === 'LIVE' && this.trouble === null;
  }

  /** True if a live socket pushes the events of all channels, and no channel lacks any. */
  get complete(): boolean {
    return this.pushed && this.behind === null && !this.unpushed;
  }

  /** True if a request for a descriptor is in flight or planned soon. */
  protected get _describing(): boolean {
    return this.timers.has('describe') || this.timers.has('describeAgain');
  }

  /** True if there is a socket that was live. */
  protected get _connected(): boolean {
    return this.mode === 'LIVE' || this.mode === 'SUSPECT';
  }

  /** Longest silence of a healthy server. */
  protected get _silenceLimit(): number {
    // A heartbeat slower than `fallbackDelay` would make each idle socket look broken.
    const heartbeat = (this.terms?.heartbeat ?? 0) + this.timing.silenceAllowance;
    return Math.max(this._options.fallbackDelay, heartbeat);
  }

  protected _startPoll(): void {
    this.pollSchedule.begin();
    this._in('pollLimit', this.timing.pollTimeout);
    // Beside a socket without trouble, only the channels that it does not push need a poll.
    this._do('poll', this.pushed && !this._pollingOn ? this._socket : null);
  }

  /** Schedule a poll within `milliseconds`, unless one is in flight or due sooner. */
  protected _pollWithin(milliseconds: number): void {
    if (this.pollSchedule.inFlight) return;
    const at = this.pollSchedule.soon(this._now, this._draw, milliseconds);
    this.timers.set('poll', Math.min(at, this.timers.get('poll') ?? at));
  }

  /** Replace the poll in flight: it may hang, or carry an old token. */
  protected _replacePoll(within: number): void {
    if (!this.polling) return;
    this._abandonPoll();
    this._pollWithin(within);
  }

  protected _abandonPoll(): void {
    this._cancel('pollLimit');
    if (!this.pollSchedule.inFlight) return;
    this.pollSchedule.failed(this._now, this._draw);
    this._do('abandon');
  }

  protected _expectMessage(): void {
    this._in('silence', this._silenceLimit);
  }

  /** Restart the timer of the next heartbeat, which the server varies by 10 %. */
  protected _expectHeartbeat(): void {
    this._in('beat', Math.floor(((this.terms?.heartbeat ?? 0) * 11) / 10) + this.timing.lateAfter);
  }

  protected _onTroubleChanged(before: string | null): void {
    if ((this.trouble === null) !== (before === null)) this._pollWithin(this.timing.firstPollSpread);
  }

  /** Ping the server. A second ping keeps the time limit of the first. */
  protected _ping(): void {
    if ((this.timers.get('ping') ?? 0) > this._now) return;
    this._in('ping', this.timing.pingTimeout);
    this._do('ping', this._socket);
  }

  protected _open(): number {
    this._sockets += 1;
    for (const socket of this._links.keys()) {
      if (socket !== this._socket && socket !== this._successor) this._links.delete(socket);
    }
    this._links.set(this._sockets, new LinkHealth());
    this._do('open', this._sockets);
    return this._sockets;
  }

  protected _closeSockets(): void {
    for (const socket of [this._socket, this._successor]) {
      if (socket !== null) this._do('close', socket, CloseCode.NORMAL);
    }
    this._socket = this._successor = this._window = null;
  }

  /** Bring the poll timer in line with the mode, and return the commands. */
  take(): Command[] {
    if (!this.polling) this._cancel('poll');
    else if (!this.pollSchedule.inFlight && !this.timers.has('poll')) {
      this.timers.set('poll', this.pollSchedule.next(this._now, this._draw));
    }
    if (this.complete) this.lastOk = this._now;
    const commands = this._commands;
    this._commands = [];
    return commands;
  }

  /** Set a timer to `milliseconds` from now. */
  protected _in(name: TimerName, milliseconds: number): void {
    this.timers.set(name, this._now + milliseconds);
  }

  protected _cancel(...names: readonly TimerName[]): void {
    for (const name of names) this.timers.delete(name);
  }

  protected _do(action: Action, socket: number | null = null, code: number | null = null): void {
    this._commands.push({ do: action, socket, code });
  }
}
