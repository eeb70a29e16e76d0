/** Questions on one socket that have no answer yet, with their deadlines. Twin of questions.py. */

import type { MachineInput } from '../client-runner.js';
import type { Timing } from '../machine/timing.js';

/** Names of the questions that are not about a channel; no channel's name has a colon. */
export const PING = ':ping';
export const TOKEN = ':token';

/**
 * Questions on one socket that have no answer yet: subscriptions, a token, a ping. Messages of the
 * server alone do not show that it receives ours.
 */
export class Questions {
  private readonly _timers = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly _overdue = new Set<string>();

  /** `socket` is the machine's number of the transport. */
  constructor(
    private readonly _socket: number,
    private readonly _timing: Timing,
    private readonly _input: (apply: MachineInput) => void,
  ) {}

  isOverdue(question: string): boolean {
    return this._overdue.has(question);
  }

  /** Start the deadline of a question; one that is asked again keeps its first deadline. */
  ask(question: string): void {
    if (!this._timers.has(question)) this._wait(question, this._timing.lateAfter, () => this._onOverdue(question));
  }

  /** End a question; `prompt`: an answer in time shows that the link does not lag. */
  answered(question: string, prompt = false): void {
    if (!this._timers.has(question)) return;
    clearTimeout(this._timers.get(question));
    this._timers.delete(question);
    const wasOverdue = this._overdue.delete(question);
    if ((prompt || wasOverdue) && !this._overdue.size) {
      this._input((machine) => machine.answered(this._socket, { prompt: prompt && !wasOverdue }));
    }
  }

  /** End all questions: the socket is closed. */
  release(): void {
    for (const timer of this._timers.values()) clearTimeout(timer);
    this._timers.clear();
    this._overdue.clear();
  }

  private _onOverdue(question: string): void {
    const { answerTimeout, lateAfter } = this._timing;
    this._overdue.add(question);
    this._wait(question, answerTimeout - lateAfter, () => this._onMissing(question));
    this._input((machine) => machine.answerOverdue(this._socket));
  }

  private _onMissing(question: string): void {
    // Again later, where the machine keeps a socket that lags.
    this._wait(question, this._timing.answerTimeout, () => this._onMissing(question));
    this._input((machine) => machine.answerMissing(this._socket));
  }

  private _wait(question: string, milliseconds: number, call: () => void): void {
    this._timers.set(question, setTimeout(call, milliseconds));
  }
}
