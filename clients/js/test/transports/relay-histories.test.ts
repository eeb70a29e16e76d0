/** Random histories of a relay: each tab has every event once and in order, whichever tab asks, leaves or is late. */

import { expect, it } from 'vitest';
import { Reducer } from '../../src/channels/reducer.js';
import type { Output as ReducerOutput } from '../../src/channels/reducer.js';
import { readEvent, readEvents, readPosition } from '../../src/messages.js';
import type { ClientMessage, Fields, ServerMessage } from '../../src/messages.js';
import type { Output } from '../../src/transports/shared/relay-channel.js';
import { Relay } from '../../src/transports/shared/relay.js';
import type { Position } from '../../src/types.js';

const CHANNEL = 'job.7';
const PAGE = 2;
const STEPS = 60;
const HISTORIES = 1_000;

const at = (offset: number): Position => (offset ? { epoch: 'aaaaaaaa', offset, id: `e${offset}` } : { epoch: 'aaaaaaaa', offset });
const event = (offset: number): ServerMessage => ({ type: 'event', channel: CHANNEL, event: 'step', ...at(offset) });

/** Log of one channel, and the server's side of one connection. */
class Server {
  top = 0;
  readonly sent: ServerMessage[] = [];
  /** Offset up to which the events were fanned out, later than they were appended. */
  private _fed = 0;
  private _subscription: { offset: number; behind: boolean } | null = null;
  private _opening: { position: Position | null } | null = null;

  receive(message: ClientMessage): void {
    if (message.type === 'unsubscribe') this._subscription = this._opening = null;
    if (message.type !== 'subscribe') return;
    if (this._opening) throw new Error('the server closes a connection that subscribes twice');
    this._opening = { position: message.position ?? null };
  }

  answer(): boolean {
    if (!this._opening) return false;
    const { position } = this._opening;
    const page = this.page(position, PAGE);
    this._opening = null;
    this._subscription = { offset: page.offset, behind: page.more };
    this.sent.push({ type: 'subscribed', channel: CHANNEL, ...page });
    return true;
  }

  fanOut(): boolean {
    if (this._fed === this.top) return false;
    this._fed += 1;
    const subscription = this._opening ? null : this._subscription;
    if (subscription && !subscription.behind && subscription.offset < this._fed) {
      subscription.offset = this._fed;
      this.sent.push(event(this._fed));
    }
    return true;
  }

  page(after: Position | null, limit: number) {
    const first = (after?.offset ?? this.top) + 1;
    const events = [];
    for (let offset = first; offset <= this.top && events.length < limit; offset += 1) events.push(event(offset));
    const end = first + events.length - 1;
    return { ...at(end), offset: end, events, more: end < this.top };
  }
}

/** Tab with its reducer, and the offsets that its handlers got. */
abstract class TabModel {
  wants = false;
  readonly offsets: number[] = [];
  readonly reducer = new Reducer();

  abstract ask(): void;

  perform(outputs: readonly ReducerOutput[]): void {
    for (const output of outputs) if (output.do === 'deliver') this.offsets.push(output.event.position?.offset ?? NaN);
    if (outputs.some((output) => output.do === 'recover')) this.ask();
  }

  receive(message: ServerMessage): void {
    if (!this.wants) return;
    if (message.type === 'event') {
      const pushed = readEvent(message);
      if (pushed) this.perform(this.reducer.event(pushed));
    } else if (message.type === 'subscribed') this.apply(message);
  }

  apply(page: Fields): void {
    const top = readPosition(page);
    const events = readEvents(page.events).filter((entry) => entry !== null);
    this.perform(this.reducer.position ? this.reducer.page({ events, top, more: !!page.more }) : this.reducer.start(top));
  }

  check(top: number): void {
    if (!this.wants) return;
    const first = this.offsets[0] ?? top + 1;
    expect(this.offsets).toEqual(Array.from({ length: top - first + 1 }, (_, index) => first + index));
    expect([this.reducer.phase, this.reducer.position?.offset]).toEqual(['current', top]);
  }
}

class SessionTab extends TabModel {
  private _isAsked = false;
  private _again = false;

  constructor(private readonly _send: (message: ClientMessage) => void) {
    super();
  }

  ask(): void {
    this._again = this._isAsked;
    if (this._isAsked) return;
    this._isAsked = true;
    const { position } = this.reducer;
    this._send({ type: 'subscribe', channel: CHANNEL, ...(position && { position }) });
  }

  leave(): void {
    this._isAsked = this._again = false;
    this._send({ type: 'unsubscribe', channels: [CHANNEL] });
  }

  override apply(page: Fields): void {
    const again = this._again;
    this._isAsked = this._again = false;
    super.apply(page);
    if (again) this.ask();
  }
}

class FollowerTab extends TabModel {
  readonly inbox: ServerMessage[] = [];
  /** Positions of the reads that wait for the log. */
  readonly reads: (Position | null)[] = [];
  /** As that of a real follower. */
  private _joined: boolean | null = null;

  constructor(
    readonly id: string,
    readonly outbox: (() => Output[])[],
    private readonly _relay: Relay,
  ) {
    super();
  }

  ask(): void {
    const { position } = this.reducer;
    if (this._joined) this.reads.push(position);
    else {
      this._joined = false;
      this.outbox.push(() => this._relay.join(this.id, CHANNEL, position));
    }
  }

  leave(): void {
    this._joined = null;
    this.reads.length = 0;
    this.outbox.push(() => this._relay.leave(this.id, [CHANNEL]));
  }

  override receive(message: ServerMessage): void {
    if (this._joined === null) return;
    if (message.type === 'joined' || message.type === 'subscribed') this._joined = true;
    if (message.type === 'joined') this.reads.push(this.reducer.position);
    else super.receive(message);
  }
}

/** Return a generator of numbers in [0, 1): the same ones for the same seed. */
function draws(seed: number): () => number {
  let state = seed + 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

class History {
  readonly server = new Server();
  private readonly _relay = new Relay(10);
  private readonly _toServer: ClientMessage[] = [];
  private readonly _toLeader: (() => Output[])[] = [];
  private readonly _session = new SessionTab((message) => this._perform(this._relay.session(message)));
  private readonly _followers = ['a', 'b'].map((id) => new FollowerTab(id, this._toLeader, this._relay));

  constructor(private readonly _draw: () => number) {}

  run(): void {
    for (let step = 0; step < STEPS; step += 1) this._pick(this._actions())();
    while (this._deliveries().some((deliver) => deliver()));
    for (const tab of this._tabs) tab.check(this.server.top);
  }

  private get _tabs(): (SessionTab | FollowerTab)[] {
    return [this._session, ...this._followers];
  }

  private _actions(): (() => unknown)[] {
    const tab = this._pick(this._tabs);
    return [
      () => (this.server.top += 1),
      () => this._toggle(tab),
      () => this._poll(tab),
      ...this._deliveries(),
      ...this._deliveries(),
    ];
  }

  /** Steps of messages and answers under way; each returns whether there was any. */
  private _deliveries(): (() => boolean)[] {
    return [
      () => take(this._toServer, (message) => this.server.receive(message)),
      () => this.server.answer(),
      () => this.server.fanOut(),
      () => take(this.server.sent, (message) => this._perform(this._relay.received(message))),
      () => take(this._toLeader, (call) => this._perform(call())),
      ...this._followers.flatMap((tab) => [
        () => take(tab.inbox, (message) => tab.receive(message)),
        () => take(tab.reads, (position) => tab.wants && tab.apply(this.server.page(position, PAGE))),
      ]),
    ];
  }

  private _toggle(tab: SessionTab | FollowerTab): void {
    tab.wants = !tab.wants;
    if (tab.wants) tab.ask();
    else {
      tab.leave();
      tab.reducer.interrupted();
    }
  }

  /** A poll beside the connection, as while it lags: it may be ahead of the flow. */
  private _poll(tab: TabModel): void {
    if (tab.wants) TabModel.prototype.apply.call(tab, this.server.page(tab.reducer.position, PAGE));
  }

  private _perform(outputs: readonly Output[]): void {
    for (const { to, message } of outputs) {
      if (to === 'server') this._toServer.push(message as ClientMessage);
      else if (to === 'session') this._session.receive(message as ServerMessage);
      else for (const tab of this._followers) if (!to || to.includes(tab.id)) tab.inbox.push(message as ServerMessage);
    }
  }

  private _pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this._draw() * items.length)] as Item;
  }
}

function take<Item>(queue: Item[], handle: (item: Item) => unknown): boolean {
  const [item] = queue.splice(0, 1);
  if (item === undefined) return false;
  handle(item);
  return true;
}

it('each tab has every event once and in order after any history', () => {
  for (let seed = 0; seed < HISTORIES; seed += 1) {
    try {
      new History(draws(seed)).run();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});
