/** Runs a machine in real time: the clock, the dice, one timer, and what the browser says. */

import type { Command, MachineOptions, Terms } from './machine/commands.js';
import { Machine } from './machine/machine.js';
import type { Timing } from './machine/timing.js';
import { isHidden, watchPage } from './browser/page-events.js';
import type { PageNews } from './browser/page-events.js';
import { status } from './machine/status.js';
import type { Status } from './machine/status.js';

const SETTLED = ['realtime', 'error', 'paused'];

export interface ShellListener {
  perform(command: Command): void;
  /** After each input, when its commands have been performed. */
  settled(before: Machine['mode']): void;
  /** Whether every channel has all its events. */
  current(): boolean;
  /** Whether a channel is wanted while nobody sees the page. */
  keep(): boolean;
}

export type Input = (machine: Machine) => void;

export class Shell {
  private _machine: Machine;
  private _running = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _due = Infinity;
  private _expected = 0;
  private _unwatch = (): void => {};

  constructor(
    private readonly _options: Partial<MachineOptions>,
    private readonly _listener: ShellListener,
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

  /** Milliseconds of a clock that never goes back. */
  get now(): number {
    return Math.round(performance.now());
  }

  get status(): Status {
    return status(this._machine, this.now);
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

  /** Tell the machine what happened, and do what it says. */
  input(take: Input): void {
    if (!this._running) return;
    const before = this._machine.mode;
    take(this._machine.at(this.now, Math.random()));
    this._machine.syncChanged({ ok: this._listener.current() });
    for (const command of this._machine.take()) this._listener.perform(command);
    this._listener.settled(before);
    this._arm();
  }

  private _watch(): void {
    const tell = (news: PageNews) =>
      this.input((machine) => machine[news]({ keep: this._listener.keep() }));
    this._unwatch = watchPage(tell);
    if (isHidden()) tell('hidden');
  }

  /** A timer that fires too early does no harm, so only an earlier one replaces it. */
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
    const wakeAt = this._machine.wakeAt ?? Infinity;
    const look = SETTLED.includes(this.status.kind) ? Infinity : this.now + this._timing.statusInterval;
    const awake = this._machine.timers.size ? this.now + this._timing.timerMax : Infinity;
    return Math.min(wakeAt, look, awake);
  }

  private _disarm(): void {
    clearTimeout(this._timer);
    this._due = Infinity;
  }

  /** Timers of a page that nobody sees are late anyway; `visible` will wake it. */
  private _fire(): void {
    this._due = Infinity;
    const late = Date.now() - this._expected;
    if (late > this._timing.clockJump && !isHidden()) this.input((machine) => machine.resumed());
    this.input((machine) => machine.tick());
  }
}
