/**
 * State machine of the hybrid client: takes inputs with their time, and returns commands.
 * Twin of machine.py; both replay `tests/vectors/machine.json`.
 */

import { CloseCode } from '../close-codes.js';
import type { Terms } from './commands.js';
import { failureReason, isDenial, refusalReason } from './credentials.js';
import { LinkInputs } from './link-inputs.js';
import type { PollFailure as ScheduledFailure } from './poll-schedule.js';
import type { TimerName } from './state.js';

export interface PollFailure extends ScheduledFailure {
  /** Code of the bridge's refusal. */
  code?: string | null;
  /** Cause in words. */
  message?: string | null;
}

export interface PollSuccess {
  /** True if the poll brought events or a reset. */
  moved?: boolean;
  /** True if the log has more events. */
  more?: boolean;
  /** Wait that the server asked for, in milliseconds. */
  nextMs?: number | null;
  /**
   * True if the log and backend of the server that answered work. After a fault, this shows that
   * another attempt may succeed; it does not concern the socket.
   */
  ok?: boolean;
}

/**
 * State machine of one client.
 *
 * Before each input, `at` sets the time of a monotonic clock, in milliseconds, and a random number
 * in [0, 1). After it, `take` returns the commands. The client runner sets one timer to `wakeAt`,
 * and calls `tick` then.
 */
export class Machine extends LinkInputs {
  /** Time of the next `tick`. */
  get wakeAt(): number | null {
    return this.timers.size ? Math.min(...this.timers.values()) : null;
  }

  /** Set the time and the random number of the next input. */
  at(now: number, draw: number): this {
    this._now = now;
    this._draw = draw;
    return this;
  }

  /** Start; `cached` is a stored descriptor for the case that the server gives none. */
  start(cached: Terms | null = null): void {
    if (this.mode === 'IDLE' || this.mode === 'STOPPED') {
      this._cached = cached;
      this.terms = null;
      this._begin();
    }
  }

  /**
   * Connect again at a user's request, whatever was decided before. A live socket stays open, and
   * the last descriptor serves while the server gives no fresh one.
   */
  retry(): void {
    if (this._connected) {
      this._wake();
      return;
    }
    this._rest('STOPPED', 'retry requested');
    this._beginAgain();
  }

  /** Poll and check the socket at a user's request. */
  refresh(): void {
    this._wake();
  }

  /** Stop. */
  stop(): void {
    this._rest('STOPPED', 'stopped');
  }

  /** Apply a fresh descriptor; at rest, store it only. */
  descriptorReceived(terms: Terms): void {
    const before = this.terms;
    this.terms = terms;
    if (before && terms.generation > before.generation) this.reconnectPolicy.endPause();
    // At 80 % of the lifetime, so that a failed request leaves time for another.
    this._refreshAt = this._now + Math.max(this.timing.descriptorRefreshMin, Math.floor((terms.expires * 4) / 5));
    if (this._resting) return;
    this._cancel('describe', 'describeAgain');
    if (this._credentials.renewed) this._replacePoll(0);
    if (this._options.push) {
      this.timers.set('refresh', this._refreshAt);
      this._follow(terms, before);
    }
  }

  /**
   * Handle a failed request for a descriptor; `status` is null where no response arrived, `code` is
   * the bridge's refusal, `retryAfter` the wait that the server asked for, in milliseconds, and
   * `message` the cause in words.
   */
  descriptorFailed(
    status: number | null = null,
    code: string | null = null,
    retryAfter: number | null = null,
    message: string | null = null,
  ): void {
    if (!this.timers.has('describe')) return;
    this._onDescriptorFailed(status, code, message);
    const at = this.timers.get('describeAgain');
    if (retryAfter === null || at === undefined) return;
    const wait = Math.min(this.timing.requestedIntervalMax, retryAfter);
    this.timers.set('describeAgain', Math.max(at, this._now + Math.round(wait * (1 + 0.2 * this._draw))));
  }

  /** Handle an open socket: send `connect` and wait for `welcome`. */
  opened(socket: number): void {
    if (socket === this._successor && this.timers.has('successorOpen')) {
      this._cancel('successorOpen');
      this._in('successorProbe', this.timing.probeTimeout);
      this._do('probe', socket);
    } else if (socket === this._socket && ['CONNECTING', 'UPGRADING'].includes(this.mode)) {
      this._pollingOn ||= this.mode === 'UPGRADING';
      this.mode = 'PROBING';
      this._cancel('slow', 'open');
      this._in('probe', this.timing.probeTimeout);
      this._do('probe', socket);
    }
  }

  /** Handle a ready socket: `welcome` has our nonce, and each subscription was answered. */
  ready(socket: number): void {
    if (socket === this._successor && this.timers.has('successorProbe')) {
      this.reconnectPolicy.recordUptime(this._liveSince, this._now, { confirmed: this._confirmed });
      this._do('close', this._socket, CloseCode.NORMAL);
      this._socket = socket;
      this._successor = null;
      this._goLive();
    } else if (socket === this._socket && this.mode === 'PROBING') {
      this._goLive();
    }
  }

  /** Record the arrival of any message on a socket. */
  messageReceived(socket: number): void {
    if (socket === this._socket && this._connected) {
      this.mode = 'LIVE';
      this._confirmed = true;
      this._cancel('ping');
      this._expectMessage();
    }
  }

  /**
   * Handle a socket that failed, or that the server or the session closed after an invalid message;
   * `reason` is the code of the refusal in the server's last `error`, and `message` the cause in words.
   */
  closed(
    socket: number,
    code: number = CloseCode.ABNORMAL,
    reason: string | null = null,
    message: string | null = null,
  ): void {
    if (socket === this._successor) {
      this._onSuccessorLost();
      this._renewToken(code);
    } else if (socket === this._socket) {
      const words = message === null ? '' : `: ${message}`;
      this._onSocketLost(code, refusalReason(reason, `the socket closed with ${code}${words}`));
    }
  }

  /** Handle the server's notice that it will close the socket: move to another at a random time. */
  drain(socket: number, after: number, window: number): void {
    if (socket === this._socket && this._connected) {
      this._window = window;
      this._in('successor', after + Math.round(this._draw * window));
    }
  }

  /** Compare the generation of a heartbeat or poll: a newer one leads to a fresh descriptor. */
  generation(generation: number): void {
    const newer = this.terms !== null && generation > this.terms.generation;
    if (newer && !this._describing && !this._resting) this._describe();
  }

  /**
   * Handle a successful poll. The first one that ends while LIVE closes the overlap of polling and
   * push. Like `ready`, it confirms the credentials, unless a renewal is under way.
   */
  pollSucceeded({ moved = false, more = false, nextMs = null, ok = true }: PollSuccess = {}): void {
    if (!this.pollSchedule.inFlight) return;
    this._cancel('pollLimit');
    if (ok && (this._pollTrouble || this.pollSchedule.failing)) this._reconnectSoon();
    this._pollTrouble = !ok;
    this.pollSchedule.answered(nextMs);
    this.lastOk = this._now;
    if (!this._describing) this._credentials.confirm();
    if (moved) this.pollSchedule.eventReceived(this._now);
    if (!this._options.push) this.reason = null;
    if (this.mode === 'LIVE') this._pollingOn &&= more;
    if (more) this._in('poll', this.timing.nextPageDelay);
  }

  /** Handle a failed poll. A denial changes nothing for a live socket, or during a renewal. */
  pollFailed({ status = null, retryAfter = null, code = null, message = null }: PollFailure = {}): void {
    if (!this.pollSchedule.inFlight) return;
    this._cancel('pollLimit');
    this.pollSchedule.failed(this._now, this._draw, { status, retryAfter });
    if (isDenial(status)) {
      if (this._connected) this._pollingOn = false;
      else if (this.timers.has('describeAgain')) this._hastenDescriptor();
      else if (!this._describing) this._onDenied(`no poll: ${failureReason(message, status, code)}`, status, code);
    }
  }

  /** Record a pushed event: polls that become necessary follow soon. */
  eventReceived(): void {
    this.pollSchedule.eventReceived(this._now);
  }

  /** Handle the browser's report that there is no network; browsers are often wrong, so ping. */
  offline(): void {
    this._setReach({ hidden: this.pollSchedule.hidden, offline: true });
    if (this.mode === 'LIVE') this._ping();
  }

  /** Handle the browser's report that the network is back. */
  online(): void {
    this._setReach({ hidden: this.pollSchedule.hidden, offline: false });
    this._wake();
  }

  /** Handle a page that became hidden; with `keep`, a channel stays connected in the background. */
  hidden({ keep = false }: { keep?: boolean } = {}): void {
    this._setReach({ hidden: true, offline: this.pollSchedule.offline });
    this._pausing = !keep;
    this._pauseLater();
  }

  /** Handle a page that became visible. */
  visible(): void {
    this._setReach({ hidden: false, offline: this.pollSchedule.offline });
    this._pausing = false;
    this._cancel('hidden');
    if (this.mode === 'PAUSED') this._begin();
    else this._wake();
  }

  /** Handle a window that got the focus: the user may have signed in elsewhere. */
  focused(): void {
    if (this.mode === 'DENIED') this._wake();
  }

  /** Handle a computer's sleep, or a page that returned from the browser's cache. */
  resumed(): void {
    this.started = this._now;
    this._wake();
  }

  /** Fire the timers that are due: the earliest first, equal ones in alphabetical order. */
  tick(): void {
    for (;;) {
      const wakeAt = this.wakeAt;
      if (wakeAt === null || wakeAt > this._now) return;
      const together = [...this.timers.keys()].filter((name) => this.timers.get(name) === wakeAt);
      const name = together.sort()[0] as TimerName;
      // Deleted before the action, which may set the same timer again.
      this.timers.delete(name);
      this._due[name]();
    }
  }

  private _hastenDescriptor(): void {
    const latest = this._now + this.timing.descriptorRetryMax;
    this.timers.set('describeAgain', Math.min(this.timers.get('describeAgain') ?? latest, latest));
  }

  private _setReach({ hidden, offline }: { hidden: boolean; offline: boolean }): void {
    if (hidden === this.pollSchedule.hidden && offline === this.pollSchedule.offline) return;
    this.pollSchedule.hidden = hidden;
    this.pollSchedule.offline = offline;
    this._cancel('poll');
  }
}
