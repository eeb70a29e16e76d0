/** Channel in the form of pusher-js. */

import type { Client, PresenceMember } from '../types.js';
import { Callbacks } from './callbacks.js';
import { channelOf } from './names.js';

/** Members of a presence channel, in the form of pusher-js. */
export interface Members {
  readonly members: Readonly<Record<string, unknown>>;
  readonly count: number;
  readonly myID: string | null;
  readonly me: { readonly id: string; readonly info: unknown } | null;
  get(id: string): { readonly id: string; readonly info: unknown } | null;
  each(callback: (member: { readonly id: string; readonly info: unknown }) => void): void;
}

/**
 * Channel of a page. Beside the events of pusher-js it has `realtime:reset`: events are missing, which
 * the page has to load. After a cut of the network the missing events follow by themselves.
 */
export class BridgeChannel extends Callbacks {
  subscribed = false;
  members: Members | undefined;
  private readonly _ends: (() => void)[] = [];
  private _list: readonly PresenceMember[] = [];

  constructor(
    readonly name: string,
    private readonly _client: Client,
    private readonly _all: (event: string, data: unknown) => void,
  ) {
    super();
    const channel = channelOf(name);
    this._ends.push(
      _client.subscribe(channel, {
        onEvent: ({ event, data }) => this._pass(event, data),
        onReset: (reset) => this._pass('realtime:reset', reset),
        onError: ({ message }) => {
          this.subscribed = false;
          this._pass('pusher:subscription_error', { type: 'AuthError', error: message, status: 403 });
        },
      }),
    );
    if (name.startsWith('presence-')) this._follow(channel);
    else this._wait(channel);
  }

  /** Return false: events of clients need a socket of Pusher's protocol. */
  trigger(event: string, _data?: unknown): boolean {
    console.warn(`realtime-bridge: ${event} was not sent: publish it by your server`);
    return false;
  }

  /** End the subscription; the handlers stay. */
  end(): void {
    this.subscribed = false;
    for (const end of this._ends.splice(0)) end();
  }

  private _wait(channel: string): void {
    const state = this._client.channel(channel);
    const show = (): void => {
      if (state.get().phase === 'current') this._succeed({});
    };
    this._ends.push(state.subscribe(show));
    queueMicrotask(show); // after the caller has bound its handlers
  }

  private _follow(channel: string): void {
    const presence = this._client.presence(channel, {
      onJoin: (member) => this._change('added', member, 1),
      onLeave: (member) => this._change('removed', member, -1),
    });
    const show = (): void => {
      const { members, count, phase } = presence.state.get();
      this._show(members, count);
      if (phase === 'current') this._succeed(this.members);
    };
    this._ends.push(presence.state.subscribe(show), () => presence.close());
    queueMicrotask(show);
  }

  private _show(list: readonly PresenceMember[], count: number): void {
    this._list = list;
    this.members = membersOf(list, count, this._client.state.get().user);
  }

  /** Change the members before the handlers are called, as pusher-js does: the state follows a frame later. */
  private _change(change: 'added' | 'removed', member: PresenceMember, step: number): void {
    const others = this._list.filter(({ user }) => user !== member.user);
    this._show(step > 0 ? [...others, member] : others, (this.members?.count ?? 0) + step);
    this._pass(`pusher:member_${change}`, { id: member.user, info: member.info });
  }

  private _succeed(data: unknown): void {
    if (this.subscribed || !this._ends.length) return;
    this.subscribed = true;
    this._pass('pusher:subscription_succeeded', data);
  }

  private _pass(event: string, data: unknown): void {
    this.emit(event, data);
    this._all(event, data);
  }
}

function membersOf(list: readonly PresenceMember[], count: number, myID: string | null): Members {
  const members = Object.fromEntries(list.map(({ user, info }) => [user, info]));
  const get = (id: string): { id: string; info: unknown } | null => (id in members ? { id, info: members[id] } : null);
  const each: Members['each'] = (callback) => list.forEach(({ user, info }) => callback({ id: user, info }));
  return { members, count, myID, me: myID === null ? null : get(myID), get, each };
}
