/** What each state of the hybrid client leads to: the rules, without the door they come in by. Twin of transitions.py. */

import type { Terms } from './commands.js';
import { NORMAL, State } from './state.js';
import type { Timer } from './state.js';
import type { Mode } from '../types.js';

export const TOKEN = 4401;
export const DISABLED = 4410;
export const FINAL = [4400, 4403];
const REFUSED: readonly unknown[] = [401, 403];
const RESTING: readonly Mode[] = ['IDLE', 'PAUSED', 'DENIED', 'STOPPED'];

// prettier-ignore
const SOCKET_TIMERS: readonly Timer[] = [
  'reconnect', 'slow', 'open', 'probe', 'silence', 'ping',
  'successor', 'successorOpen', 'successorProbe',
];

/** Whether an HTTP status says that the credentials are not good. */
export function isRefusal(status: number | null): boolean {
  return REFUSED.includes(status);
}

/** One client's state, and what becomes of it. */
export abstract class Transitions extends State {
  /** What each timer does when it is due. */
  protected readonly _due: Readonly<Record<Timer, () => void>> = {
    describe: () => this._undescribed(null),
    describeAgain: () => this._describe(),
    refresh: () => this._describe(),
    slow: () => {
      this.mode = 'UPGRADING';
      this._pollWithin(0);
    },
    open: () => this._giveUp('the socket did not open'),
    probe: () => this._giveUp('nobody answered on the socket'),
    silence: () => {
      this.mode = 'SUSPECT';
      this._ping();
      this._pollWithin(0);
    },
    ping: () => this._giveUp('the socket went silent'),
    reconnect: () => this._connect('UPGRADING'),
    successor: () => {
      if (this._successor === null) this._openSuccessor();
    },
    successorOpen: () => this._dropSuccessor(),
    successorProbe: () => this._dropSuccessor(),
    hidden: () => this._rest('PAUSED', 'nobody is looking'),
    poll: () => this._onPoll(),
    pollLimit: () => this._abandonPoll(),
  };

  protected get _resting(): boolean {
    return RESTING.includes(this.mode);
  }

  /** Do the first thing, given what is known; red comes 30 s from now at the earliest. */
  protected _begin(): void {
    this.started = this._now;
    this.reason = null;
    this._renewed = this._hurry = false;
    if (this.terms) this.timers.set('refresh', Math.max(this._now, this._refreshAt));
    if (!this._options.push || this.terms?.mode === 'polling') {
      this.mode = 'FALLBACK';
    } else if (this.terms) {
      this._pollingOn = true;
      this._connectFirst();
    } else {
      this.mode = 'BOOT';
      this._describe();
    }
    this._pollWithin(0);
    this._pauseLater();
  }

  protected _describe(how: 'describe' | 'renew' = 'describe'): void {
    this._cancel('describeAgain', 'refresh');
    this._in('describe', this.timing.descriptorTimeout);
    this._do(how);
  }

  /**
   * Go on without: a cached descriptor serves, and nothing else keeps a client informed.
   * A renewal that got no answer was none: the next refusal is renewed again.
   */
  protected _undescribed(status: number | null): void {
    this._cancel('describe');
    const reason = `no descriptor: ${status || 'no answer'}`;
    if (isRefusal(status)) {
      this._unauthorised(reason);
      return;
    }
    this._renewed = false;
    if (this.mode === 'BOOT') {
      this.reason = reason;
      if (this._cached) {
        [this.terms, this._cached] = [this._cached, null];
        this._fall(reason);
      }
    }
    const wait = Math.min(this.attempts.backoff(this._draw), this.timing.descriptorRetryMax);
    this._in('describeAgain', wait);
  }

  /** Renew the credentials once, then take no for an answer. */
  protected _unauthorised(reason: string): void {
    if (this._renewed) {
      this._rest('DENIED', reason);
      return;
    }
    this.reason = reason;
    this._renewed = true;
    this._describe('renew');
  }

  /** Do what a fresh descriptor says; who had to wait for it polls from the first. */
  protected _follow(terms: Terms, before: Terms | null): void {
    const hurry = this._hurry;
    this._hurry = false;
    const newer = before !== null && terms.generation > before.generation;
    if (terms.mode === 'polling') {
      this._closeSockets();
      this._fall('the server asks for polling');
    } else if (this.mode === 'BOOT') {
      this.attempts.forget();
      this._pollingOn = this.reason !== null;
      this._connectFirst();
      this._pollWithin(0);
    } else if (this.mode === 'FALLBACK') {
      if (hurry || newer || before?.mode === 'polling') {
        this.timers.set('reconnect', this.attempts.soon(this._now, this._draw, 0));
      }
    } else if (this._good) {
      this._renewed = false;
      this._do('token', this._socket);
      if (newer) this._openSuccessor();
    } else if (newer) {
      this._closeSockets();
      this._connect('UPGRADING');
    }
  }

  protected _connectFirst(): void {
    this._connect('CONNECTING');
    this._in('slow', this.timing.slowConnect);
  }

  protected _connect(mode: 'CONNECTING' | 'UPGRADING'): void {
    this.mode = mode;
    this._cancel(...SOCKET_TIMERS);
    this._socket = this._open();
    this._in('open', this.timing.openTimeout);
  }

  protected _goLive(): void {
    this.mode = 'LIVE';
    this.reason = this._window = null;
    this._cancel(...SOCKET_TIMERS);
    this._renewed = this._heard = false;
    this._liveSince = this._now;
    this._listen();
    const maxAge = this.terms?.maxAge ?? null;
    if (maxAge !== null) {
      const age = Math.round(maxAge * (0.8 + 0.15 * this._draw));
      this._in('successor', age);
    }
    if (this._pollingOn) this._pollWithin(0);
  }

  /** Open the socket to move over to, in place of one that is on its way. */
  protected _openSuccessor(): void {
    if (this._successor !== null) this._do('close', this._successor, NORMAL);
    this._cancel('successor', 'successorProbe');
    this._successor = this._open();
    this._in('successorOpen', this.timing.openTimeout);
  }

  protected _dropSuccessor(): void {
    this._do('close', this._successor, NORMAL);
    this._loseSuccessor();
  }

  protected _loseSuccessor(): void {
    this._successor = null;
    this._cancel('successorOpen', 'successorProbe');
    this._in('successor', this.attempts.backoff(this._draw));
  }

  protected _giveUp(reason: string): void {
    this._do('close', this._socket, NORMAL);
    this._lost(1006, reason);
  }

  /** Go on without the socket: to its successor, to polling, or nowhere. */
  protected _lost(code: number, reason: string): void {
    if (this.pushed) this.lastOk = this._now;
    if (this._good) this.attempts.died(this._liveSince, this._now, { heard: this._heard });
    this._socket = null;
    if (FINAL.includes(code)) this._rest('DENIED', reason);
    else if (code === DISABLED) this._rest('STOPPED', reason);
    else if (this._successor !== null) this._promoteSuccessor(reason);
    else {
      this._fall(reason, code);
      this._renewToken(code);
    }
  }

  /** Go on with the successor from wherever it has got to, and poll meanwhile. */
  protected _promoteSuccessor(reason: string): void {
    const probing = this.timers.has('successorProbe');
    const deadline = this.timers.get(probing ? 'successorProbe' : 'successorOpen') ?? this._now;
    this._cancel(...SOCKET_TIMERS);
    this.timers.set(probing ? 'probe' : 'open', deadline);
    this.mode = probing ? 'PROBING' : 'UPGRADING';
    this.reason = reason;
    [this._socket, this._successor] = [this._successor, null];
    this._pollingOn = true;
    this._pollWithin(this.timing.firstPollSpread);
  }

  /** Renew once before the next attempt, which then comes at once. */
  protected _renewToken(code: number): void {
    if (code !== TOKEN || this._renewed) return;
    this._renewed = this._hurry = true;
    this._cancel('reconnect');
    this._describe('renew');
  }

  protected _fall(reason: string, code = 1006): void {
    const urgent = this._good || !this.polling;
    this.mode = 'FALLBACK';
    this.reason = reason;
    this._pollingOn = false;
    this._cancel(...SOCKET_TIMERS);
    if (urgent) this._pollWithin(this.timing.firstPollSpread);
    if (this.terms?.mode !== 'realtime') return;
    const window = this._window;
    this._window = null;
    this.timers.set('reconnect', this.attempts.next(this._now, this._draw, { code, window }));
  }

  /** Let go of sockets, timers and polls. */
  protected _rest(mode: 'PAUSED' | 'DENIED' | 'STOPPED', reason: string): void {
    this.mode = mode;
    this.reason = reason;
    this._closeSockets();
    this._abandonPoll();
    this.timers.clear();
    this._pollingOn = this.degraded = false;
  }

  /** Make up for lost time: the network, the page or the clock is back. */
  protected _wake(): void {
    this.attempts.forget();
    this._renewed &&= this.timers.has('describe');
    if (this._good) {
      this._ping();
      this._pollingOn = true;
    }
    if (this.timers.has('reconnect')) {
      this.timers.set('reconnect', this.attempts.soon(this._now, this._draw, this.timing.wakeSpread));
    }
    if (this.timers.has('describeAgain')) {
      this._in('describeAgain', Math.round(this._draw * this.timing.wakeSpread));
    }
    this._pollAnew(this._good ? 0 : this.timing.firstPollSpread);
  }

  protected _pauseLater(): void {
    if (!this._pausing) this._cancel('hidden');
    else if (!this._resting && !this.timers.has('hidden')) {
      this._in('hidden', this.timing.hiddenPause);
    }
  }
}
