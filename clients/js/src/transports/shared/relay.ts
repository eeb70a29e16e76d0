/** Relay of the leader: one connection to the server, used by the leader's session and by followers. */

import type { ClientMessage, Fields, ServerMessage } from '../../messages.js';
import type { Position } from '../../types.js';
import { RelayChannel } from './relay-channel.js';
import type { Output } from './relay-channel.js';
import { isFields, isText } from './tab-messages.js';

const UNAVAILABLE = 503;

/** Messages with the server's health. */
const REPORTS = ['welcome', 'heartbeat', 'status'];

/** State of one connection; each method handles an input and returns the outputs. */
export class Relay {
  /** Last report of the server about its log and backend. */
  health: Fields = {};
  private readonly _channels = new Map<string, RelayChannel>();

  /** `limit`: largest number of channels on the connection. */
  constructor(private readonly _limit: number) {}

  /** Handle a message of the leader's own session. */
  session(message: ClientMessage): Output[] {
    if (message.type === 'subscribe') return this._channel(message.channel).subscribe(message);
    if (message.type !== 'unsubscribe') return [{ to: 'server', message }];
    const outputs = message.channels.flatMap((name) => this._channels.get(name)?.unsubscribe() ?? []);
    return [...outputs, ...this._leaveUnused(message.channels)];
  }

  /** Add a follower to a channel. */
  join(follower: string, channel: string, position: Position | null): Output[] {
    if (!this._channels.has(channel) && this._channels.size >= this._limit) {
      const text = `over ${this._limit} channels on one connection`;
      return [{ to: [follower], message: { type: 'refused', channel, code: UNAVAILABLE, message: text } }];
    }
    return this._channel(channel).join(follower, position);
  }

  leave(follower: string, channels: readonly string[]): Output[] {
    for (const name of channels) this._channels.get(name)?.leave(follower);
    return this._leaveUnused(channels);
  }

  /** Remove a follower whose page is gone. */
  remove(follower: string): Output[] {
    return this.leave(follower, [...this._channels.keys()]);
  }

  /** Ask the server for a follower: its answer shows that both ways work. */
  ping(follower: string, nonce: string): Output[] {
    return [{ to: 'server', message: { type: 'ping', nonce: `${follower}.${nonce}` } }];
  }

  /** Handle a message of the server. */
  received(message: ServerMessage): Output[] {
    const { type, log, backend } = message;
    if (REPORTS.includes(type)) this.health = { log, backend };
    if (type === 'pong') return [this._pong(message)];
    // Whichever page leads opens the next connection.
    if (type === 'welcome' || type === 'drain') return [{ to: 'session', message }];
    if (isText(message.channel)) return this._inChannel(message.channel, message);
    const missing = type === 'heartbeat' && isFields(message.offsets) ? this._announced(message.offsets) : [];
    return [{ to: 'session', message }, { to: null, message }, ...missing];
  }

  private _inChannel(name: string, message: ServerMessage): Output[] {
    const channel = this._channels.get(name);
    // Sent before the server knew that all left: followers would take it for an answer to a later request.
    if (!channel) return [{ to: 'session', message }];
    const { type } = message;
    if (type === 'subscribed') return [...channel.subscribed(message), ...this._leaveUnused([name])];
    const outputs = type === 'reset' || type === 'refused' ? channel[type](message) : channel.event(message);
    if (channel.isUnused) this._channels.delete(name);
    return outputs;
  }

  private _pong(message: ServerMessage): Output {
    const [follower, nonce] = String(message.nonce).split('.');
    return nonce && follower ? { to: [follower], message: { ...message, nonce } } : { to: 'session', message };
  }

  private _announced(offsets: Fields): Output[] {
    return Object.entries(offsets).flatMap(([name, offset]) => this._channels.get(name)?.announced(Number(offset)) ?? []);
  }

  private _channel(name: string): RelayChannel {
    const channel = this._channels.get(name) ?? new RelayChannel(name);
    this._channels.set(name, channel);
    return channel;
  }

  private _leaveUnused(names: readonly string[]): Output[] {
    const unused = names.filter((name) => this._channels.get(name)?.isUnused);
    for (const name of unused) this._channels.delete(name);
    return unused.length ? [{ to: 'server', message: { type: 'unsubscribe', channels: unused } }] : [];
  }
}
