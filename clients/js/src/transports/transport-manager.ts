/** Does what the machine says: descriptors, connections and polls of one client. */

import type { Channels } from '../channels/subscription-set.js';
import type { Action, Command } from '../machine/commands.js';
import { Connection } from './transport-session.js';
import type { PushName } from './transport-session.js';
import type { Descriptors } from '../http/descriptor.js';
import { demand, isText, parseFrame } from '../messages.js';
import type { Fields } from '../messages.js';
import { HttpError, ask, statusOf } from '../http/request.js';
import { ABNORMAL } from './transport.js';
import type { LinkTools, OpenLink } from './transport.js';
import type { Timing } from '../machine/timing.js';
import { isHidden } from '../browser/page-events.js';
import { poll } from '../http/bridge-http.js';
import type { Input } from '../client-runner.js';
import { WebSocketLink } from './websocket.js';
import type { ClientOptions } from '../types.js';

/** Between our own pings, when nothing else is sent, in milliseconds. */
const HEARTBEAT_MS = 30_000;

/** What pushes, by the name that the descriptor or the application gives it; most are loaded then. */
const LINKS: Readonly<Record<string, () => OpenLink | Promise<OpenLink>>> = {
  websocket: () => (tools, handlers) => new WebSocketLink(tools.url('websocket'), handlers),
  sse: () => import('./sse.js').then(({ StreamLink }) => (tools, handlers) => new StreamLink(tools, handlers)),
  ably: () => import('./hosted/ably.js').then(({ ablyLink }) => ablyLink),
  pusher: () => import('./hosted/pusher.js').then(({ pusherLink }) => pusherLink),
};

export class Carrier {
  private readonly _connections = new Map<number, Connection>();
  /** The one that is live: recovery goes through it. */
  private _main: Connection | null = null;
  private _describing: AbortController | null = null;
  private _described: Promise<unknown> | null = null;
  private _polling: AbortController | null = null;
  private readonly _actions: Readonly<Record<Action, (socket: number, code: number) => unknown>> = {
    describe: () => this._describe(),
    renew: () => this._describe(),
    open: (socket) => this._open(socket),
    probe: (socket) => this._connections.get(socket)?.introduce(this._token),
    token: (socket) => this._connections.get(socket)?.renew(this._token),
    ping: (socket) => this._connections.get(socket)?.ping(),
    close: (socket, code) => this._close(socket, code),
    poll: () => this._poll(),
    abandon: () => this._polling?.abort(),
  };

  constructor(
    private readonly _channels: Channels,
    private readonly _descriptors: Descriptors,
    private readonly _options: ClientOptions,
    private readonly _timing: Timing,
    private readonly _input: (take: Input) => void,
  ) {}

  /** How events are pushed, while they are. */
  get pushing(): PushName | null {
    return this._main?.push ?? null;
  }

  perform({ do: action, socket, code }: Command): void {
    this._actions[action](socket ?? 0, code ?? 1000);
  }

  subscribe(channel: string): void {
    for (const connection of this._connections.values()) connection.subscribe(channel);
  }

  unsubscribe(channel: string): void {
    for (const connection of this._connections.values()) connection.unsubscribe(channel);
  }

  release(): void {
    this._describing?.abort();
    this._polling?.abort();
    for (const number of [...this._connections.keys()]) this._close(number, 1000);
  }

  /** The application's choice, else the deployment's, as far as it can be had here. */
  private get _push(): string {
    const { transport } = this._options;
    if (transport === 'websocket' || transport === 'sse') return transport;
    const { provider } = this._descriptors.last?.fields ?? {};
    if (provider !== 'websocket' && isText(provider)) return provider;
    return typeof WebSocket === 'undefined' ? 'sse' : 'websocket';
  }

  private get _token(): string {
    return this._descriptors.last?.token ?? '';
  }

  private _describe(): Promise<unknown> {
    this._describing?.abort();
    const request = (this._describing = new AbortController());
    this._described = this._descriptors
      .fetch(request.signal)
      .then(
        ({ terms }): Input => (machine) => machine.descriptorReceived(terms),
        (error: unknown): Input => (machine) => machine.descriptorFailed(statusOf(error) ?? null),
      )
      .then((input) => request.signal.aborted || this._input(input))
      .finally(() => {
        if (this._describing === request) this._described = this._describing = null;
      });
    return this._described;
  }

  private _open(number: number): void {
    const connection = new Connection(number, this._channels, {
      heartbeatInterval: this._options.heartbeatInterval ?? HEARTBEAT_MS,
      timing: this._timing,
      input: this._input,
      ready: () => this._ready(number),
      ended: () => this._lose(number),
    });
    this._connections.set(number, connection);
    void this._link(number, connection);
  }

  /** A descriptor that was only remembered has no token, so a fresh one comes first. */
  private async _link(number: number, connection: Connection): Promise<void> {
    if (!this._descriptors.usable) await (this._described ?? this._describe());
    try {
      demand(this._descriptors.usable, 'a descriptor');
      const push = this._push;
      const open = await LINKS[push]?.();
      if (this._connections.get(number) !== connection) return;
      demand(open, `an offer of ${push}`);
      connection.use(push as PushName, open(this._tools(), connection));
    } catch (error) {
      queueMicrotask(() => connection.closed(ABNORMAL, String(error)));
    }
  }

  private _tools(): LinkTools {
    const fields = () => this._descriptors.last?.fields ?? {};
    return {
      ask,
      isHidden,
      timing: this._timing,
      parse: parseFrame,
      url: (name) => this._descriptors.offered(name),
      positions: () => this._channels.positions,
      token: () => this._token,
      options: () => fields().options as Fields,
      guarantee: () => (fields().guarantee === 'signal' ? 'signal' : 'log'),
    };
  }

  private _close(number: number, code: number): void {
    this._connections.get(number)?.close(code);
    this._lose(number);
  }

  private _lose(number: number): void {
    const connection = this._connections.get(number);
    this._connections.delete(number);
    if (this._main === connection) this._main = null;
    if (!this._main) this._channels.interrupted();
  }

  /** What the former connection had been asked for, it can answer no more. */
  private _ready(number: number): void {
    const former = this._main;
    this._main = this._connections.get(number) ?? null;
    this._input((machine) => machine.ready(number));
    if (!former) return;
    for (const name of this._channels.behind) this._main?.subscribe(name);
  }

  private async _poll(): Promise<void> {
    this._polling?.abort();
    const request = (this._polling = new AbortController());
    try {
      const answer = await poll(this._channels, this._descriptors, request.signal);
      if (request.signal.aborted) return;
      for (const name of answer.recover) this._main?.subscribe(name);
      const more = !this._main && answer.recover.length > 0;
      this._input((machine) => machine.pollSucceeded({ ...answer, more }));
      this._input((machine) => machine.status({ ok: answer.ok }));
      this._input((machine) => machine.generation(answer.generation));
    } catch (error) {
      if (!request.signal.aborted) this._notPolled(error);
    }
  }

  private _notPolled(error: unknown): void {
    const { status = null, retryAfter = null } = error instanceof HttpError ? error : {};
    this._input((machine) => machine.pollFailed({ status, retryAfter }));
  }
}
