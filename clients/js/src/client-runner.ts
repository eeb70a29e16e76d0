/** Runs a machine in real time, with a clock, random numbers, one timer and the page's events. */

import { isHidden, watchPage } from './browser/page-events.js';
import type { PageEvent } from './browser/page-events.js';
import type { Command, MachineOptions, Terms } from './machine/commands.js';
import { Machine } from './machine/machine.js';
import { connectionStatus } from './machine/status.js';
import type { ConnectionStatus } from './machine/status.js';
import type { Timing } from './machine/timing.js';

/** Kinds of status that time alone does not change. */
const SETTLED = ['realtime', 'error', 'paused'];

export interface RunnerListener {
  perform(command: Command): void;
  /** Handle the end of an input, when its commands were performed; `before` is the mode before it. */
  settled(before: Machine['mode']): void;
  /** Return whether every channel has all its events, every handler its snapshot, and how many channels are only polled. */
  sync(): { ok: boolean; loaded: boolean; unpushed: number };
  /** Return whether the client stays connected while the page is hidden. */
  staysConnected(): boolean;
}

/** Input of the machine. */
export type MachineInput = (machine: Machine) => void;

export class ClientRunner {
  private _machine: Machine;
  private _running = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _due = Infinity;
  private _expected = 0;
  private _unwatch = (): void => {};

  constructor(
    private readonly _options: Partial<MachineOptions>,
    private readonly _listener: RunnerListener,
    private readonly _timing: Timing,
  ) {
    this._machine = new Machine(_options, _timing);
  }

  get state(): Machine {
    return this._machine;
  }

  get isRunning(): boolean {
    return this._running;
  }

  /** Monotonic time in milliseconds. */
  get now(): number {
    return Math.round(performance.now());
  }

  get status(): ConnectionStatus {
    return connectionStatus(this._machine, this.now);
  }

  start(cached: Terms | null): void {
    this._running = true;
    this._machine = new Machine(this._options, this._timing);
    this.input((machine) => machine.start(cached));
    this._watch();
  }

  stop(): void {
    this.input((machine) => machine.stop());
    this._running = false;
    this._unwatch();
    this._disarm();
  }

  /** Pass an input to the machine, and perform its commands. */
  input(apply: MachineInput): void {
    if (!this._running) return;
    const before = this._machine.mode;
    apply(this._machine.at(this.now, Math.random()));
    this._machine.syncChanged(this._listener.sync());
    for (const command of this._machine.take()) this._listener.perform(command);
    this._listener.settled(before);
    this._arm();
  }

  private _watch(): void {
    const handle = (event: PageEvent) =>
      this.input((machine) => machine[event]({ keep: this._listener.staysConnected() }));
    this._unwatch = watchPage(handle);
    // The page may have been hidden from the start, which no event reports.
    if (isHidden()) handle('hidden');
  }

  /** Set the timer. Firing too early does no harm, so only an earlier time replaces it. */
  private _arm(): void {
    const at = this._wakeAt();
    if (!this._running || at >= this._due) return;
    this._disarm();
    if (at === Infinity) return;
    const wait = Math.max(0, at - this.now);
    this._due = at;
    this._expected = Date.now() + wait;
    this._timer = setTimeout(() => this._fire(), wait);
  }

  private _wakeAt(): number {
    const { statusInterval, timerMax } = this._timing;
    const wakeAt = this._machine.wakeAt ?? Infinity;
    const status = SETTLED.includes(this.status.kind) ? Infinity : this.now + statusInterval;
    const sleepCheck = this._machine.timers.size ? this.now + timerMax : Infinity;
    return Math.min(wakeAt, status, sleepCheck);
  }

  private _disarm(): void {
    clearTimeout(this._timer);
    this._due = Infinity;
  }

  private _fire(): void {
    this._due = Infinity;
    const late = Date.now() - this._expected;
    // Browsers delay the timers of hidden pages; `visible` wakes such a page.
    if (late > this._timing.clockJump && !isHidden()) this.input((machine) => machine.resumed());
    this.input((machine) => machine.tick());
  }
}
