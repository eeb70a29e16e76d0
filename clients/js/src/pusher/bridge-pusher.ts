/** Client in the form of pusher-js, with the promises of this package. */

import type { Client, StatusKind } from '../types.js';
import { BridgeChannel } from './bridge-channel.js';
import { Callbacks } from './callbacks.js';
import { socketIdOf } from './names.js';

export type PusherState = 'initialized' | 'connecting' | 'connected' | 'unavailable' | 'failed' | 'disconnected';

/** Pusher has no word for polls: a page that polls gets its events. */
const STATES: Record<StatusKind, PusherState> = {
  starting: 'initialized',
  connecting: 'connecting',
  realtime: 'connected',
  polling: 'connected',
  delayed: 'connected',
  offline: 'unavailable',
  error: 'failed',
  paused: 'disconnected',
};

/** Connection in the form of pusher-js: its state, and the events `state_change` and those named as states. */
export class BridgeConnection extends Callbacks {
  state: PusherState;
  /** Id by which a server library excludes this page: `X-Socket-ID`, `toOthers()`. */
  readonly socket_id: string;

  constructor(private readonly _client: Client) {
    super();
    const { client, kind } = _client.state.get();
    this.socket_id = socketIdOf(client);
    this.state = STATES[kind];
    _client.state.subscribe(() => this._show());
  }

  private _show(): void {
    const [previous, current] = [this.state, STATES[this._client.state.get().kind]];
    if (previous === current) return;
    this.state = current;
    this.emit('state_change', { previous, current });
    this.emit(current);
  }
}

/**
 * Client for code that was written for pusher-js, over a client of this package: events arrive once and in
 * order, and those that a cut of the network delayed follow. Use it in place of `new Pusher(key, options)`.
 *
 * @example
 * const client = new HybridClient({ endpoint: '/realtime' });
 * client.start();
 * const pusher = new BridgePusher(client);
 * pusher.subscribe('private-orders.7').bind('paid', show);
 */
export class BridgePusher extends Callbacks {
  readonly connection: BridgeConnection;
  /** Channels by their names; Laravel Echo reads them here. */
  readonly channels: { readonly channels: Record<string, BridgeChannel> } = { channels: {} };

  constructor(private readonly _client: Client) {
    super();
    this.connection = new BridgeConnection(_client);
  }

  /** Return the channel of Pusher's name, and subscribe to it. */
  subscribe(name: string): BridgeChannel {
    return (this.channels.channels[name] ??= new BridgeChannel(name, this._client, (event, data) => this.emit(event, data)));
  }

  unsubscribe(name: string): void {
    this.channels.channels[name]?.end();
    delete this.channels.channels[name];
  }

  channel(name: string): BridgeChannel | undefined {
    return this.channels.channels[name];
  }

  allChannels(): BridgeChannel[] {
    return Object.values(this.channels.channels);
  }

  connect(): void {
    this._client.start();
  }

  /** Stop the client, for all that use it. */
  disconnect(): void {
    this._client.stop();
  }

  /** Do nothing: the session or token of the client names the user. */
  signin(): void {}
}
