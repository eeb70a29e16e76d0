/** Rules of the hybrid client's states; machine.ts has the inputs. Twin of transitions.py. */

import { CloseCode } from '../close-codes.js';
import type { Mode } from '../types.js';
import type { Terms } from './commands.js';
import { failureReason, isDenial, refusalReason } from './credentials.js';
import { isPlanned } from './reconnect-policy.js';
import { State } from './state.js';
import type { TimerName } from './state.js';

/** Close codes after which the server would refuse each further attempt. */
const FINAL: readonly number[] = [CloseCode.PROTOCOL, CloseCode.FORBIDDEN];
const RESTING: readonly Mode[] = ['IDLE', 'PAUSED', 'DENIED', 'STOPPED'];

// prettier-ignore
const SOCKET_TIMERS: readonly TimerName[] = [
  'reconnect', 'slow', 'open', 'probe', 'silence', 'ping', 'beat', 'stale',
  'successor', 'successorOpen', 'successorProbe',
];

/** State of one client with its transitions. */
export abstract class Transitions extends State {
  /** Action of each timer when it fires. */
  protected readonly _due: Readonly<Record<TimerName, () => void>> = {
    describe: () => this._onDescriptorFailed(null, null, null),
    describeAgain: () => this._describe(),
    refresh: () => this._describe(),
    slow: () => {
      this.mode = 'UPGRADING';
      this._pollWithin(0);
    },
    open: () => this._giveUp('the socket did not open'),
    probe: () => this._giveUp('the server did not answer on the socket'),
    silence: () => {
      this.mode = 'SUSPECT';
      this._ping();
      this._pollWithin(0);
    },
    ping: () => this._giveUp('the socket went silent'),
    beat: () => this._onBeat(),
    stale: () => {
      this._pollingOn = true;
      this._pollWithin(0);
    },
    reconnect: () => this._connect('UPGRADING'),
    successor: () => {
      if (this._successor === null) this._openSuccessor();
    },
    successorOpen: () => this._dropSuccessor(),
    successorProbe: () => this._dropSuccessor(),
    hidden: () => this._rest('PAUSED', 'the page is hidden'),
    poll: () => this._startPoll(),
    pollLimit: () => this._abandonPoll(),
  };

  protected get _resting(): boolean {
    return RESTING.includes(this.mode);
  }

  /** Start from rest with the descriptor at hand, if any. */
  protected _begin(): void {
    this.started = this._now;
    this.reason = null;
    this._hurry = this._mayReturn = this._tokenRefused = false;
    this._credentials.confirm();
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

  /** Start from rest with a fresh descriptor; the last one serves while there is none. */
  protected _beginAgain(): void {
    this._cached = this.terms ?? this._cached;
    this.terms = null;
    this.reconnectPolicy.reset();
    this._begin();
  }

  protected _describe(how: 'describe' | 'renew' = 'describe'): void {
    this._cancel('describeAgain', 'refresh');
    this._in('describe', this.timing.descriptorTimeout);
    this._do(how);
  }

  /**
   * Continue without a fresh descriptor: a cached descriptor serves meanwhile.
   * A renewal without a response does not count: the next denial leads to another renewal.
   */
  protected _onDescriptorFailed(status: number | null, code: string | null, message: string | null): void {
    this._cancel('describe');
    const reason = `no descriptor: ${failureReason(message, status, code)}`;
    if (isDenial(status)) {
      this._onDenied(reason, status, code);
      return;
    }
    this._credentials.confirm();
    if (this.mode === 'BOOT') {
      this.reason = reason;
      if (this._cached) {
        [this.terms, this._cached] = [this._cached, null];
        this._fall(reason);
      }
    }
    this._describeLater();
  }

  protected _describeLater(): void {
    const wait = this.reconnectPolicy.backoff(this._draw);
    this._in('describeAgain', Math.min(wait, this.timing.descriptorRetryMax));
  }

  protected _onDenied(otherwise: string, status: number | null, code: string | null): void {
    const reason = (this.reason = refusalReason(code, otherwise));
    const next = this._credentials.deny(this._now, status, code);
    if (next === 'renew') this._describe('renew');
    else if (next === 'retry') this._describeLater();
    else {
      this._rest('DENIED', reason);
      this._mayReturn = true;
    }
  }

  /** Apply a fresh descriptor. */
  protected _follow(terms: Terms, before: Terms | null): void {
    const hurry = this._hurry;
    this._hurry = false;
    const newer = before !== null && terms.generation > before.generation;
    if (terms.mode === 'polling') {
      this._closeSockets();
      this._fall('the server asks for polling');
    } else if (this.mode === 'BOOT') {
      this.reconnectPolicy.reset();
      // After a failed request the page has waited long enough: poll while the socket connects.
      this._pollingOn = this.reason !== null;
      this._connectFirst();
      this._pollWithin(0);
    } else if (this.mode === 'FALLBACK') {
      if (hurry || newer || before?.mode === 'polling') {
        this.timers.set('reconnect', this.reconnectPolicy.soon(this._now, this._draw, 0));
      }
    } else if (this._connected) {
      this._credentials.confirm();
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
    this._confirmed = this._tokenRefused = false;
    this._credentials.confirm();
    this._liveSince = this._now;
    this._expectMessage();
    if (this._links.get(this._socket ?? 0)?.timed) this._expectHeartbeat();
    const maxAge = this.terms?.maxAge ?? null;
    if (maxAge !== null) {
      // 80 to 95 % of the age: sockets that opened together do not all move together.
      this._in('successor', Math.round(maxAge * (0.8 + 0.15 * this._draw)));
    }
    if (this._pollingOn) this._pollWithin(0);
  }

  /** Open a socket that replaces the current one once it is ready. */
  protected _openSuccessor(): void {
    if (this._successor !== null) this._do('close', this._successor, CloseCode.NORMAL);
    this._cancel('successor', 'successorProbe');
    this._successor = this._open();
    this._in('successorOpen', this.timing.openTimeout);
  }

  protected _dropSuccessor(): void {
    this._do('close', this._successor, CloseCode.NORMAL);
    this._onSuccessorLost();
  }

  protected _onSuccessorLost(): void {
    this._successor = null;
    this._cancel('successorOpen', 'successorProbe');
    this._in('successor', this.reconnectPolicy.backoff(this._draw));
  }

  protected _giveUp(reason: string): void {
    this._do('close', this._socket, CloseCode.NORMAL);
    this._onSocketLost(CloseCode.ABNORMAL, reason);
  }

  /** Continue without the socket: with its successor, by polling, or not at all. */
  protected _onSocketLost(code: number, reason: string): void {
    if (this.complete) this.lastOk = this._now;
    const planned = this._recordEnd(code);
    this._socket = null;
    if (FINAL.includes(code)) this._rest('DENIED', reason);
    else if (code === CloseCode.DISABLED) this._rest('STOPPED', reason);
    else if (this._successor !== null) this._promoteSuccessor(reason);
    else {
      this._fall(reason, code, planned);
      this._renewToken(code);
      // The server may deliver by another provider, or by another app of it.
      if (code === CloseCode.UNDELIVERED && !this._describing) this._describe();
    }
  }

  /** Record the end of a socket, and return whether the server planned it. */
  private _recordEnd(code: number): boolean {
    const planned = this._connected && (isPlanned(code) || this._window !== null);
    if (code === CloseCode.UNDELIVERED) this.reconnectPolicy.pause(this._now);
    else if (this._connected) {
      const record = planned ? 'recordUptime' : 'recordDrop';
      this.reconnectPolicy[record](this._liveSince, this._now, { confirmed: this._confirmed });
    }
    return planned;
  }

  /** Continue with the successor at its current step, and poll meanwhile. */
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

  /** Get a fresh token before the next attempt: at once, and after that with back-off. */
  protected _renewToken(code: number): void {
    if (code !== CloseCode.TOKEN) return;
    const isFirst = !this._tokenRefused;
    this._tokenRefused = this._hurry = true;
    const at = this.timers.get('reconnect');
    this._cancel('reconnect');
    if (this.timers.has('describe')) return;
    if (isFirst) {
      this._credentials.renewed = true;
      this._describe('renew');
    } else if (at !== undefined) this.timers.set('describeAgain', at);
  }

  protected _fall(reason: string, code: number = CloseCode.ABNORMAL, planned = false): void {
    // A client that polled already keeps its interval: the lost attempt delays no events.
    const urgent = this._connected || !this.polling;
    this.mode = 'FALLBACK';
    this.reason = reason;
    this._pollingOn = false;
    this._cancel(...SOCKET_TIMERS);
    if (urgent) this._pollWithin(this.timing.firstPollSpread);
    if (this.terms?.mode !== 'realtime') return;
    const window = this._window;
    this._window = null;
    this.timers.set('reconnect', this.reconnectPolicy.next(this._now, this._draw, { code, window, planned }));
  }

  /** Release sockets, timers and polls. */
  protected _rest(mode: 'PAUSED' | 'DENIED' | 'STOPPED', reason: string): void {
    this.mode = mode;
    this.reason = reason;
    this._closeSockets();
    this._abandonPoll();
    this.timers.clear();
    this._pollingOn = false;
  }

  /** Catch up: the network, the page or the clock is back. */
  protected _wake(): void {
    if (this.mode === 'DENIED' && this._mayReturn) {
      this._beginAgain();
      return;
    }
    const { wakeSpread, firstPollSpread } = this.timing;
    this.reconnectPolicy.reset();
    if (!this.timers.has('describe')) {
      this._tokenRefused = false;
      this._credentials.confirm();
    }
    if (this._connected) {
      this._ping();
      this._pollingOn = true;
    }
    if (this.timers.has('reconnect')) {
      this.timers.set('reconnect', this.reconnectPolicy.soon(this._now, this._draw, wakeSpread));
    }
    if (this.timers.has('describeAgain')) this._in('describeAgain', Math.round(this._draw * wakeSpread));
    this._replacePoll(this._connected ? 0 : firstPollSpread);
  }

  /** Reconnect before the back-off ends: what made the attempts fail seems to be over. */
  protected _reconnectSoon(): void {
    const name = this._hurry ? 'describeAgain' : 'reconnect';
    const at = this.timers.get(name);
    if (at === undefined) return;
    this.reconnectPolicy.reset();
    const soon = this.reconnectPolicy.soon(this._now, this._draw, this.timing.restartSpread);
    this.timers.set(name, Math.min(at, soon));
  }

  private _onBeat(): void {
    const link = this._links.get(this._socket ?? 0);
    const before = this.trouble;
    if (link) {
      link.lagging = true;
      this._do('ping', this._socket);
    }
    this._onTroubleChanged(before);
  }

  protected _pauseLater(): void {
    if (!this._pausing) this._cancel('hidden');
    else if (!this._resting && !this.timers.has('hidden')) this._in('hidden', this.timing.hiddenPause);
  }
}
