/** Inputs about the health of sockets and the state of channels; machine.ts has the others. Twin of link_inputs.py. */

import { Transitions } from './transitions.js';

/** State machine with the inputs that decide whether a socket is in trouble. */
export abstract class LinkInputs extends Transitions {
  /**
   * Record whether every channel has all its events: if not for a while, a poll reads them.
   * `loaded`: every handler has its snapshot; only the status shows it. `unpushed`: number of channels
   * that the live socket does not push; new ones are polled at once.
   */
  syncChanged({ ok, loaded = true, unpushed = 0 }: { ok: boolean; loaded?: boolean; unpushed?: number }): void {
    if (this.mode === 'LIVE' && unpushed > this.unpushed) this._pollWithin(0);
    this.unpushed = unpushed;
    if (ok && loaded) this.behind = null;
    else this.behind ??= this._now;
    if (ok || !this._connected) this._cancel('stale');
    else if (!this.timers.has('stale')) this._in('stale', this.timing.lateAfter);
  }

  /**
   * Handle the report of a socket's server; polls and other sockets change nothing here. `sent`:
   * time of a heartbeat or `welcome` by the server's clock.
   */
  health(socket: number, { ok, sent = null }: { ok: boolean; sent?: number | null }): void {
    const link = this._links.get(socket);
    const before = this.trouble;
    if (!link) return;
    link.down = !ok;
    if (sent !== null) {
      link.measure(this._now, sent, this.timing.lateAfter);
      if (socket === this._socket && this._connected) {
        this._expectHeartbeat();
        if (link.lagging) this._do('ping', socket);
      }
    }
    this._onTroubleChanged(before);
  }

  /** Handle a socket that continues at another server, whose clock differs. */
  clockChanged(socket: number): void {
    this._links.get(socket)?.restartClock();
  }

  /** Handle a question that is not answered in time: poll meanwhile. */
  answerOverdue(socket: number): void {
    const link = this._links.get(socket);
    const before = this.trouble;
    if (link) link.overdue = true;
    this._onTroubleChanged(before);
  }

  /** Handle an answer after which none is overdue; `prompt`: a ping was answered in time. */
  answered(socket: number, { prompt }: { prompt: boolean }): void {
    const link = this._links.get(socket);
    const before = this.trouble;
    if (link) link.overdue = false;
    if (prompt) link?.restartClock();
    this._onTroubleChanged(before);
  }

  /**
   * Handle a question without an answer: give the socket up, unless it lags. Messages still arrive
   * on a link that lags, and another socket would lag as well.
   */
  answerMissing(socket: number): void {
    if (this._links.get(socket)?.lagging !== false) return;
    if (socket === this._successor) this._dropSuccessor();
    else if (socket === this._socket) this._giveUp('the server does not answer on the socket');
  }
}
