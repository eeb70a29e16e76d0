/** Performs the machine's commands: descriptors, transports and polls of one client. */

import { isHidden } from '../browser/page-events.js';
import { applyPoll, emptyResult } from '../channels/poll-result.js';
import type { SubscriptionSet } from '../channels/subscription-set.js';
import type { MachineInput } from '../client-runner.js';
import { CloseCode } from '../close-codes.js';
import { chunked } from '../http/bridge-http.js';
import type { BridgeHTTP } from '../http/bridge-http.js';
import type { DescriptorStore } from '../http/descriptor.js';
import { HTTPError, failureOf, messageOf, request } from '../http/request.js';
import type { Action, Command } from '../machine/commands.js';
import type { Intervals } from '../machine/options.js';
import type { Timing } from '../machine/timing.js';
import { assertValid, isText, parseMessage } from '../messages.js';
import type { Fields } from '../messages.js';
import type { ClientOptions, Telemetry } from '../types.js';
import { TransportSession } from './transport-session.js';
import type { PushName } from './transport-session.js';
import type { OpenTransport, TransportTools } from './transport.js';
import { WebSocketTransport } from './websocket.js';

const openSocket: OpenTransport = (tools, handlers) => new WebSocketTransport(tools.url('websocket'), handlers);

/** Further transports by name, loaded on demand. */
const TRANSPORTS: Readonly<Record<string, () => Promise<{ readonly open: OpenTransport }>>> = {
  sse: () => import('./sse.js'),
  ably: () => import('./hosted/ably.js'),
  pusher: () => import('./hosted/pusher.js'),
};

export class TransportManager {
  private readonly _sessions = new Map<number, TransportSession>();
  /** Live session: it recovers missing events. */
  private _main: TransportSession | null = null;
  private _describing: AbortController | null = null;
  private _descriptor: Promise<unknown> | null = null;
  private _polling: AbortController | null = null;
  private _sharing: Promise<OpenTransport> | undefined;
  private readonly _actions: Readonly<Record<Action, (socket: number, code: number) => unknown>> = {
    describe: () => this._describe(),
    renew: () => this._describe(),
    open: (socket) => this._open(socket),
    probe: (socket) => this._sessions.get(socket)?.sendConnect(this._token),
    token: (socket) => this._sessions.get(socket)?.sendToken(this._token),
    ping: (socket) => this._sessions.get(socket)?.ping(),
    close: (socket, code) => this._close(socket, code),
    poll: (socket) => this._poll(this._sessions.get(socket)),
    abandon: () => this._polling?.abort(),
  };

  constructor(
    private readonly _subscriptions: SubscriptionSet,
    private readonly _descriptors: DescriptorStore,
    private readonly _http: BridgeHTTP,
    private readonly _options: ClientOptions & Pick<Intervals, 'heartbeatInterval'>,
    private readonly _timing: Timing,
    private readonly _input: (apply: MachineInput) => void,
    private readonly _report: (entry: Telemetry) => void,
  ) {}

  /** Name of the transport that pushes events now. */
  get pushing(): PushName | null {
    return this._main?.push ?? null;
  }

  perform({ do: action, socket, code }: Command): void {
    this._actions[action](socket ?? 0, code ?? CloseCode.NORMAL);
  }

  subscribe(channel: string): void {
    for (const session of this._sessions.values()) session.requests.subscribe(channel);
  }

  unsubscribe(channels: readonly string[]): void {
    for (const session of this._sessions.values()) session.unsubscribe(channels);
  }

  /** Number of channels that the live transport does not push. */
  get unpushed(): number {
    return this._main?.requests.unpushed.length ?? 0;
  }

  release(): void {
    this._describing?.abort();
    this._polling?.abort();
    for (const socket of this._sessions.keys()) this._close(socket, CloseCode.NORMAL);
  }

  /** Transport of the application's choice, else of the deployment's, as far as this platform has it. */
  private get _push(): string {
    const { transport } = this._options;
    if (transport === 'websocket' || transport === 'sse') return transport;
    const { provider } = this._descriptors.last?.fields ?? {};
    if (provider !== 'websocket' && isText(provider)) return provider;
    return globalThis.WebSocket ? 'websocket' : 'sse';
  }

  private get _token(): string {
    return this._descriptors.last?.token ?? '';
  }

  /** Load the opener of a transport. Tabs share a WebSocket where their browser has locks. */
  private async _load(push: string): Promise<OpenTransport | undefined> {
    if (push !== 'websocket') return (await TRANSPORTS[push]?.())?.open;
    if ((this._options.shareConnection ?? true) && globalThis.navigator?.locks) {
      return (this._sharing ??= import('./shared/shared-transport.js').then(({ share }) => share(openSocket), () => openSocket));
    }
    return openSocket;
  }

  private _describe(): Promise<unknown> {
    // The file arrives with the descriptor, not after it.
    if (this._push === 'websocket') void this._load('websocket');
    this._describing?.abort();
    const controller = (this._describing = new AbortController());
    this._descriptor = this._descriptors
      .fetch(controller.signal)
      .then(
        ({ terms }): MachineInput => (machine) => machine.descriptorReceived(terms),
        (error: unknown): MachineInput => {
          if (controller.signal.aborted) return () => {};
          const { status, code, retryAfter, message } = this._failureOf(error, 'connect');
          return (machine) => machine.descriptorFailed(status, code, retryAfter, message);
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
      heartbeatInterval: this._options.heartbeatInterval,
      timing: this._timing,
      input: this._input,
      failed: (reason, code) => this._report({ type: 'failure', request: 'socket', reason, code }),
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
      const open = await this._load(push);
      // The machine may have closed the socket while the code was loaded.
      if (this._sessions.get(socket) !== session) return;
      assertValid(open, `a supported provider instead of ${push}`);
      session.requests.carry(this._descriptors.channelLimit);
      session.use(push as PushName, open(this._tools(session), session));
    } catch (error) {
      queueMicrotask(() => session.closed(CloseCode.ABNORMAL, messageOf(error)));
    }
  }

  private _tools(session: TransportSession): TransportTools {
    const fields = () => this._descriptors.last?.fields ?? {};
    return {
      request,
      isHidden,
      timing: this._timing,
      parse: parseMessage,
      url: (name) => this._descriptors.requiredURL(name),
      positions: () => this._subscriptions.positions(session.requests.carried),
      channelLimit: () => this._descriptors.channelLimit,
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
    for (const name of this._subscriptions.behind) this._main?.requests.subscribe(name);
  }

  /** Poll all channels, or those that a session does not push: one request after the other, each for as many as the server accepts. */
  private async _poll(session: TransportSession | undefined): Promise<void> {
    this._polling?.abort();
    const { signal } = (this._polling = new AbortController());
    const result = emptyResult();
    try {
      const token = await this._descriptors.token();
      // Read after the token: subscriptions may have been added while the application fetched it.
      for (const names of chunked(session?.requests.unpushed ?? this._subscriptions.names, this._descriptors.channelLimit)) {
        const response = await this._http.poll(this._subscriptions.positions(names), token, signal);
        if (signal.aborted) return;
        const denied = applyPoll(this._subscriptions, response, result);
        if (denied[0]) this.unsubscribe(denied);
        // A handler may have stopped the client.
        if (signal.aborted) return;
      }
      let more = false;
      for (const name of result.recover) {
        if (this._main?.requests.pushes(name)) this._main.requests.subscribe(name);
        else more = true;
      }
      this._input((machine) => machine.pollSucceeded({ ...result, more }));
      this._input((machine) => machine.generation(result.generation));
    } catch (error) {
      if (signal.aborted) return;
      const failure = this._failureOf(error, 'poll');
      this._input((machine) => machine.pollFailed(failure));
    }
  }

  /** Return the cause of a failed request; developers get it too. */
  private _failureOf(error: unknown, request: 'connect' | 'poll') {
    const { status = null, retryAfter = null, code = null } = error instanceof HTTPError ? error : {};
    this._report(failureOf(error, request));
    return { status, retryAfter, code, message: messageOf(error) || null };
  }
}
