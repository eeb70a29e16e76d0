/** Performs the machine's commands: descriptors, transports and polls of one client. */

import { isHidden } from '../browser/page-events.js';
import { applyPoll } from '../channels/poll-result.js';
import type { SubscriptionSet } from '../channels/subscription-set.js';
import type { MachineInput } from '../client-runner.js';
import { CloseCode } from '../close-codes.js';
import type { BridgeHTTP } from '../http/bridge-http.js';
import type { DescriptorStore } from '../http/descriptor.js';
import { HTTPError, request } from '../http/request.js';
import type { Action, Command } from '../machine/commands.js';
import type { Timing } from '../machine/timing.js';
import { assertValid, isText, parseMessage } from '../messages.js';
import type { Fields } from '../messages.js';
import type { ClientOptions } from '../types.js';
import { TransportSession } from './transport-session.js';
import type { PushName } from './transport-session.js';
import type { OpenTransport, TransportTools } from './transport.js';
import { WebSocketTransport } from './websocket.js';

/** Transports by name; all but the first are loaded on demand. */
const TRANSPORTS: Readonly<Record<string, () => OpenTransport | Promise<OpenTransport>>> = {
  websocket: () => (tools, handlers) => new WebSocketTransport(tools.url('websocket'), handlers),
  sse: () => import('./sse.js').then(({ SSETransport }) => (tools, handlers) => new SSETransport(tools, handlers)),
  ably: () => import('./hosted/ably.js').then(({ ablyTransport }) => ablyTransport),
  pusher: () => import('./hosted/pusher.js').then(({ pusherTransport }) => pusherTransport),
};

export class TransportManager {
  private readonly _sessions = new Map<number, TransportSession>();
  /** Live session: it recovers missing events. */
  private _main: TransportSession | null = null;
  private _describing: AbortController | null = null;
  private _descriptor: Promise<unknown> | null = null;
  private _polling: AbortController | null = null;
  private readonly _actions: Readonly<Record<Action, (socket: number, code: number) => unknown>> = {
    describe: () => this._describe(),
    renew: () => this._describe(),
    open: (socket) => this._open(socket),
    probe: (socket) => this._sessions.get(socket)?.sendConnect(this._token),
    token: (socket) => this._sessions.get(socket)?.sendToken(this._token),
    ping: (socket) => this._sessions.get(socket)?.ping(),
    close: (socket, code) => this._close(socket, code),
    poll: () => this._poll(),
    abandon: () => this._polling?.abort(),
  };

  constructor(
    private readonly _subscriptions: SubscriptionSet,
    private readonly _descriptors: DescriptorStore,
    private readonly _http: BridgeHTTP,
    private readonly _options: ClientOptions,
    private readonly _timing: Timing,
    private readonly _input: (apply: MachineInput) => void,
  ) {}

  /** Name of the transport that pushes events now. */
  get pushing(): PushName | null {
    return this._main?.push ?? null;
  }

  perform({ do: action, socket, code }: Command): void {
    this._actions[action](socket ?? 0, code ?? CloseCode.NORMAL);
  }

  subscribe(channel: string): void {
    for (const session of this._sessions.values()) session.subscribe(channel);
  }

  unsubscribe(channel: string): void {
    for (const session of this._sessions.values()) session.unsubscribe(channel);
  }

  release(): void {
    this._describing?.abort();
    this._polling?.abort();
    for (const socket of [...this._sessions.keys()]) this._close(socket, CloseCode.NORMAL);
  }

  /** Transport of the application's choice, else of the deployment's, as far as this platform has it. */
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
    const controller = (this._describing = new AbortController());
    this._descriptor = this._descriptors
      .fetch(controller.signal)
      .then(
        ({ terms }): MachineInput => (machine) => machine.descriptorReceived(terms),
        (error: unknown): MachineInput => {
          const { status, code, retryAfter } = failureOf(error);
          return (machine) => machine.descriptorFailed(status, code, retryAfter);
        },
      )
      .then((input) => controller.signal.aborted || this._input(input))
      .finally(() => {
        if (this._describing === controller) this._descriptor = this._describing = null;
      });
    return this._descriptor;
  }

  private _open(socket: number): void {
    const session = new TransportSession(socket, this._subscriptions, {
      heartbeatInterval: this._options.heartbeatInterval ?? 30_000,
      timing: this._timing,
      input: this._input,
      ready: () => this._onReady(socket),
      ended: () => this._remove(socket),
    });
    this._sessions.set(socket, session);
    void this._connect(socket, session);
  }

  private async _connect(socket: number, session: TransportSession): Promise<void> {
    // A descriptor loaded from the tab's storage has no token.
    if (!this._descriptors.usable) await (this._descriptor ?? this._describe());
    try {
      assertValid(this._descriptors.usable, 'a descriptor');
      const push = this._push;
      const open = await TRANSPORTS[push]?.();
      // The machine may have closed the socket while the code was loaded.
      if (this._sessions.get(socket) !== session) return;
      assertValid(open, `a supported provider instead of ${push}`);
      session.use(push as PushName, open(this._tools(), session));
    } catch (error) {
      queueMicrotask(() => session.closed(CloseCode.ABNORMAL, String(error)));
    }
  }

  private _tools(): TransportTools {
    const fields = () => this._descriptors.last?.fields ?? {};
    return {
      request,
      isHidden,
      timing: this._timing,
      parse: parseMessage,
      url: (name) => this._descriptors.requiredURL(name),
      positions: () => this._subscriptions.positions,
      token: () => this._token,
      options: () => fields().options as Fields,
      guarantee: () => (fields().guarantee === 'signal' ? 'signal' : 'log'),
      control: () => (fields().control ?? null) as string | null,
    };
  }

  private _close(socket: number, code: number): void {
    this._sessions.get(socket)?.close(code);
    this._remove(socket);
  }

  private _remove(socket: number): void {
    const session = this._sessions.get(socket);
    this._sessions.delete(socket);
    if (this._main === session) this._main = null;
    if (!this._main) this._subscriptions.interrupted();
  }

  private _onReady(socket: number): void {
    const former = this._main;
    this._main = this._sessions.get(socket) ?? null;
    this._input((machine) => machine.ready(socket));
    if (!former) return;
    // The machine has closed the former session, which can no longer answer its requests.
    for (const name of this._subscriptions.behind) this._main?.subscribe(name);
  }

  private async _poll(): Promise<void> {
    this._polling?.abort();
    const { signal } = (this._polling = new AbortController());
    try {
      const response = await this._http.poll(this._subscriptions, signal);
      if (signal.aborted) return;
      const result = applyPoll(this._subscriptions, response);
      // A handler may have stopped the client.
      if (signal.aborted) return;
      let more = false;
      for (const name of result.recover) {
        if (!this._main || this._main.isOverdue(name)) more = true;
        else this._main.subscribe(name);
      }
      this._input((machine) => machine.pollSucceeded({ ...result, more }));
      this._input((machine) => machine.generation(result.generation));
    } catch (error) {
      if (!signal.aborted) this._onPollFailed(error);
    }
  }

  private _onPollFailed(error: unknown): void {
    this._input((machine) => machine.pollFailed(failureOf(error)));
  }
}

function failureOf(error: unknown): { status: number | null; retryAfter: number | null; code: string | null } {
  const { status = null, retryAfter = null, code = null } = error instanceof HTTPError ? error : {};
  return { status, retryAfter, code };
}
