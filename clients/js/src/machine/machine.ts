/**
 * The hybrid client's state machine: what happened and when goes in, what to do comes out.
 * Twin of machine.py; both replay `tests/vectors/machine.json`.
 */

import type { Terms } from './commands.js';
import { NORMAL } from './state.js';
import type { Timer } from './state.js';
import { Transitions, isRefusal } from './transitions.js';
import type { Failure } from './poll-schedule.js';

export interface PollResult {
  /** Whether it brought anything. */
  moved?: boolean;
  /** Whether there is more. */
  more?: boolean;
  /** The wait that the server wishes, in milliseconds. */
  nextMs?: number | null;
}

/**
 * One client: it is told what happens, and tells what to do.
 *
 * Before each input, `at` sets the time of a clock that never goes back, in milliseconds, and a
 * random number in [0, 1); after it, `take` hands out the commands. The shell sets one timer to
 * `wakeAt`, and calls `tick` then.
 */
export class Machine extends Transitions {
  /** When `tick` has something to do. */
  get wakeAt(): number | null {
    return this.timers.size ? Math.min(...this.timers.values()) : null;
  }

  /** Set the time, and the chance, of the next input. */
  at(now: number, draw: number): this {
    this._now = now;
    this._draw = draw;
    return this;
  }

  /** Begin; `cached` is a descriptor of less than an hour ago. */
  start(cached: Terms | null = null): void {
    if (this.mode === 'IDLE' || this.mode === 'STOPPED') {
      this._cached = cached;
      this.terms = null;
      this._begin();
    }
  }

  /**
   * Try again, whatever was decided before: a person asked for it. A socket that is good is not
   * thrown away for it, and what was known serves while the server gives no fresh descriptor.
   */
  retry(): void {
    if (this._good) {
      this._wake();
      return;
    }
    this._rest('STOPPED', 'asked to try again');
    this._cached = this.terms ?? this._cached;
    this.terms = null;
    this.attempts.forget();
    this._begin();
  }

  /** Poll now, and make sure that the socket lives: a person asked for it. */
  refresh(): void {
    this._wake();
  }

  /** End. */
  stop(): void {
    this._rest('STOPPED', 'stopped');
  }

  /** Take a fresh descriptor: at rest it is remembered, and nothing more. */
  descriptorReceived(terms: Terms): void {
    const before = this.terms;
    this.terms = terms;
    this._refreshAt = this._now + Math.max(this.timing.descriptorRefreshMin, Math.floor((terms.expires * 4) / 5));
    if (this._resting) return;
    this._cancel('describe', 'describeAgain');
    if (this._renewed) this._pollAnew(0);
    if (this._options.push) {
      this.timers.set('refresh', this._refreshAt);
      this._follow(terms, before);
    }
  }

  /** Take the failure of a descriptor: an HTTP status, or no answer at all. */
  descriptorFailed(status: number | null = null): void {
    if (this.timers.has('describe')) this._undescribed(status);
  }

  /** Note that a socket is open: say who we are, and see who answers. */
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

  /** Note that `welcome` came with our nonce, and every subscription was answered. */
  ready(socket: number): void {
    if (socket === this._successor && this.timers.has('successorProbe')) {
      this.attempts.lived(this._liveSince, this._now, { heard: this._heard });
      this._do('close', this._socket, NORMAL);
      this._socket = socket;
      this._successor = null;
      this._goLive();
    } else if (socket === this._socket && this.mode === 'PROBING') {
      this._goLive();
    }
  }

  /** Note that anything at all came on a socket. */
  frame(socket: number): void {
    if (socket === this._socket && this._good) {
      this.mode = 'LIVE';
      this._heard = true;
      this._cancel('ping');
      this._listen();
    }
  }

  /**
   * Note that a socket failed or was closed, by anybody but the machine. A shell that hears
   * nonsense closes the socket, and says so here.
   */
  closed(socket: number, code = 1006): void {
    if (socket === this._successor) this._loseSuccessor();
    else if (socket === this._socket) this._lost(code, `the socket closed with ${code}`);
  }

  /** Take the server's word that it will close: move over at a moment of our own. */
  drain(socket: number, after: number, window: number): void {
    if (socket === this._socket && this._good) {
      this._window = window;
      this._in('successor', after + Math.round(this._draw * window));
    }
  }

  /** Take the server's word, in a frame or a poll, on whether its log and backend work. */
  status({ ok }: { ok: boolean }): void {
    if (ok === this.degraded && !this._resting) {
      this.degraded = !ok;
      this._pollWithin(this.timing.firstPollSpread);
    }
  }

  /** Note whether every channel has all its events; this is for people to see. */
  syncChanged({ ok }: { ok: boolean }): void {
    if (ok) this.behind = null;
    else this.behind ??= this._now;
  }

  /** Take the generation that a heartbeat or a poll named. */
  generation(generation: number): void {
    const newer = this.terms !== null && generation > this.terms.generation;
    const asking = this.timers.has('describe') || this.timers.has('describeAgain');
    if (newer && !asking && !this._resting) this._describe();
  }

  /**
   * Take a poll that was answered. The first one that ends while LIVE is the overlap; it shows,
   * like `ready`, that the credentials are good, unless they are just being renewed.
   */
  pollSucceeded({ moved = false, more = false, nextMs = null }: PollResult = {}): void {
    if (!this.cadence.inFlight) return;
    this._cancel('pollLimit');
    this.cadence.answered(nextMs);
    this.lastOk = this._now;
    this._renewed &&= this.timers.has('describe');
    if (moved) this.cadence.eventReceived(this._now);
    if (this.mode === 'LIVE') this._pollingOn &&= more;
    if (more) this._in('poll', this.timing.nextPageDelay);
  }

  /**
   * Take a poll that failed. A refusal is nothing to a socket that is good, and nothing while
   * credentials are renewed.
   */
  pollFailed({ status = null, retryAfter = null }: Failure = {}): void {
    if (!this.cadence.inFlight) return;
    this._cancel('pollLimit');
    this.cadence.failed(this._now, this._draw, { status, retryAfter });
    if (isRefusal(status)) {
      if (this._good) this._pollingOn = false;
      else if (!this.timers.has('describe')) this._unauthorised(`a poll was answered ${status}`);
    }
  }

  /** Note that an event was pushed: should polls be needed, they come soon. */
  eventReceived(): void {
    this.cadence.eventReceived(this._now);
  }

  /** Take the browser's word that there is no network: it may be wrong. */
  offline(): void {
    this._look({ hidden: this.cadence.hidden, offline: true });
    if (this.mode === 'LIVE') this._ping();
  }

  /** Take the browser's word that there is a network again. */
  online(): void {
    this._look({ hidden: this.cadence.hidden, offline: false });
    this._wake();
  }

  /** Note that nobody sees the page; `keep` if a channel is wanted even so. */
  hidden({ keep = false }: { keep?: boolean } = {}): void {
    this._look({ hidden: true, offline: this.cadence.offline });
    this._pausing = !keep;
    this._pauseLater();
  }

  /** Note that somebody sees the page again. */
  visible(): void {
    this._look({ hidden: false, offline: this.cadence.offline });
    this._pausing = false;
    this._cancel('hidden');
    if (this.mode === 'PAUSED') this._begin();
    else this._wake();
  }

  /** Note that the clock jumped by over 15 s, or the page came back from a cache. */
  resumed(): void {
    this.started = this._now;
    this._wake();
  }

  /** Do what is due, the earliest first, and what is due together in alphabetical order. */
  tick(): void {
    for (;;) {
      const wakeAt = this.wakeAt;
      if (wakeAt === null || wakeAt > this._now) return;
      const together = [...this.timers.keys()].filter((name) => this.timers.get(name) === wakeAt);
      const name = together.sort()[0] as Timer;
      this.timers.delete(name);
      this._due[name]();
    }
  }

  private _look({ hidden, offline }: { hidden: boolean; offline: boolean }): void {
    if (hidden === this.cadence.hidden && offline === this.cadence.offline) return;
    this.cadence.hidden = hidden;
    this.cadence.offline = offline;
    this._cancel('poll');
  }
}
