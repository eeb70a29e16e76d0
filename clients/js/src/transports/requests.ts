/** Requests on one connection until the server answers them: subscriptions, a token, a ping. Twin of requests.py. */

import type { SubscriptionSet } from '../channels/subscription-set.js';
import type { MachineInput } from '../client-runner.js';
import { spread } from '../machine/backoff.js';
import type { Timing } from '../machine/timing.js';
import type { ClientMessage } from '../messages.js';
import type { Position } from '../types.js';

/** Names of the requests that are not about a channel; no channel's name has a colon. */
export const PING = ':ping';
export const TOKEN = ':token';

/**
 * Requests on one connection that have no answer yet, and the channels that it carries. The first
 * channels are carried, up to the limit; each that leaves makes room for another. Each request has a
 * deadline: messages of the server alone do not show that it receives ours.
 */
export class Requests {
  /** Positions in the subscriptions that have no answer yet. */
  readonly asked = new Map<string, Position | null>();
  /** Channels whose first answer is needed for readiness. */
  unanswered = new Set<string>();
  private _limit = Infinity;
  private _isOpen = false;
  private readonly _carried = new Set<string>();
  private readonly _unpushed = new Set<string>();
  /** Channels that are requested again after their answer. */
  private readonly _again = new Set<string>();
  private readonly _timers = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly _overdue = new Set<string>();
  private readonly _retries = new Map<string, ReturnType<typeof setTimeout>>();
  /** Time before which no further channel is requested: the server limits requests. */
  private _calmUntil = 0;

  /** `socket` is the machine's number of the connection. */
  constructor(
    private readonly _socket: number,
    private readonly _subscriptions: SubscriptionSet,
    private readonly _timing: Timing,
    private readonly _input: (apply: MachineInput) => void,
    private readonly _send: (message: ClientMessage) => void,
  ) {}

  /** Channels that the connection carries. */
  get carried(): string[] {
    return [...this._carried];
  }

  /** Channels whose events are not pushed: over the limit, or refused for now. */
  get unpushed(): string[] {
    return [...this._unpushed];
  }

  /** Choose the channels that the connection carries: the first ones, up to its limit. */
  carry(limit: number): void {
    this._limit = limit;
    for (const channel of this._subscriptions.names) this._carry(channel);
  }

  /** Return whether a request here brings a channel's events; if not, polls have to help. */
  pushes(channel: string): boolean {
    return !this._unpushed.has(channel) && !this._overdue.has(channel);
  }

  /** Subscribe to the channels: the server accepted the connection. */
  start(): void {
    this._isOpen = true;
    for (const channel of this._subscriptions.names) this.subscribe(channel);
    this.unanswered = new Set(this.asked.keys());
  }

  /** Request all carried channels again: the connection continues at another server. */
  restart(): void {
    for (const channel of this._carried) this._request(channel);
  }

  /** Request the events after our position. The server takes one request at a time for a channel. */
  subscribe(channel: string): void {
    if (!this._isOpen || !this._subscriptions.isAllowed(channel) || !this._carry(channel)) return;
    if (this.asked.has(channel)) {
      this._again.add(channel);
      return;
    }
    if (Date.now() < this._calmUntil && !this._retries.has(channel)) {
      this._retryLater(channel);
      return;
    }
    this._request(channel);
  }

  /** End the subscriptions of channels by one message: the server limits the number of messages. */
  unsubscribe(channels: readonly string[]): void {
    if (this._isOpen) this._send({ type: 'unsubscribe', channels });
    for (const channel of channels) this.leave(channel);
  }

  /** Record that the server pushes a channel's events; the result is that of `answered`. */
  subscribed(channel: string): boolean {
    this._unpushed.delete(channel);
    return this.answered(channel);
  }

  /** Record that the server refuses a channel for now, and request it again later; `calm`: others wait too. */
  refused(channel: string, calm: boolean): void {
    this.answered(channel);
    if (calm) this._calmUntil = Date.now() + this._timing.subscribeRetry;
    this._retryLater(channel);
  }

  /** Remove a channel; another one may take its place. */
  leave(channel: string): void {
    this.answered(channel);
    clearTimeout(this._retries.get(channel));
    this._retries.delete(channel);
    this._unpushed.delete(channel);
    if (!this._carried.delete(channel)) return;
    const next = this.unpushed.find((name) => !this._carried.has(name));
    if (next === undefined) return;
    this.unanswered.add(next);
    this.subscribe(next);
  }

  /** Start the deadline of a request; one that is made again keeps its first deadline. */
  ask(request: string): void {
    if (!this._timers.has(request)) this._wait(request, this._timing.lateAfter, () => this._onOverdue(request));
  }

  /**
   * End a request, and return whether its channel is to be requested again; `prompt`: an answer in
   * time shows that the link does not lag.
   */
  answered(request: string, prompt = false): boolean {
    this.asked.delete(request);
    if (this._timers.has(request)) this._endDeadline(request, prompt);
    this.unanswered.delete(request);
    return this._again.delete(request);
  }

  /** End all requests: the connection is closed. */
  release(): void {
    this._isOpen = false;
    for (const timer of [...this._timers.values(), ...this._retries.values()]) clearTimeout(timer);
    this._timers.clear();
    this._overdue.clear();
  }

  /** Carry a channel, if there is room, and return whether the connection carries it. */
  private _carry(channel: string): boolean {
    const carries = this._carried.has(channel) || this._carried.size < this._limit;
    (carries ? this._carried : this._unpushed).add(channel);
    return carries;
  }

  private _request(channel: string): void {
    const position = this._subscriptions.position(channel);
    this.asked.set(channel, position);
    this.ask(channel);
    this._send({ type: 'subscribe', channel, ...(position && { position }) });
  }

  private _retryLater(channel: string): void {
    const { subscribeRetry, subscribePace } = this._timing;
    this._unpushed.add(channel);
    clearTimeout(this._retries.get(channel));
    const retry = () => {
      // Deleted after the request, which would wait otherwise.
      this.subscribe(channel);
      this._retries.delete(channel);
    };
    // One after the other: together they would exceed the server's limit again.
    const wait = spread(subscribeRetry, Math.random()) + subscribePace * this._retries.size;
    this._retries.set(channel, setTimeout(retry, wait));
  }

  private _endDeadline(request: string, prompt: boolean): void {
    clearTimeout(this._timers.get(request));
    this._timers.delete(request);
    const wasOverdue = this._overdue.delete(request);
    if ((prompt || wasOverdue) && !this._overdue.size) {
      this._input((machine) => machine.answered(this._socket, { prompt: prompt && !wasOverdue }));
    }
  }

  private _onOverdue(request: string): void {
    const { answerTimeout, lateAfter } = this._timing;
    this._overdue.add(request);
    this._wait(request, answerTimeout - lateAfter, () => this._onMissing(request));
    this._input((machine) => machine.answerOverdue(this._socket));
  }

  private _onMissing(request: string): void {
    // Again later, where the machine keeps a socket that lags.
    this._wait(request, this._timing.answerTimeout, () => this._onMissing(request));
    this._input((machine) => machine.answerMissing(this._socket));
  }

  private _wait(request: string, milliseconds: number, call: () => void): void {
    this._timers.set(request, setTimeout(call, milliseconds));
  }
}
