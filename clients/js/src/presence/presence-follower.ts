/** Subscription of a page to the members of a channel; loaded on demand. */

import type { Client, PresenceOptions, PresenceState, RealtimeEvent } from '../types.js';
import { MemberList } from './member-list.js';
import type { PresenceChange } from './member-list.js';

const PREFIX = '@realtime.presence.';

/** Name of the event of a provider that has all members. */
const MEMBERS = 'presence.members';

/** Functions of the client: a file of its own that both load would cost each page more than this argument. */
export interface FollowerTools {
  readonly guarded: (call: () => void) => void;
  readonly onNextFrame: (call: () => void) => () => void;
}

/** Pass each state to `show`, once in an animation frame at most, and return a function that ends the subscription. */
export function followPresence(
  client: Pick<Client, 'subscribe' | 'channel'>,
  channel: string,
  { keepInBackground = false, onJoin, onLeave }: PresenceOptions,
  show: (state: PresenceState) => void,
  { guarded, onNextFrame }: FollowerTools,
): () => void {
  const name = PREFIX + channel;
  const list = new MemberList();
  let cancelFrame: (() => void) | null = null;
  let departure: ReturnType<typeof setTimeout> | undefined;
  const releases = [
    client.channel(name).subscribe(showSoon),
    client.subscribe(name, {
      keepInBackground,
      onSnapshot: ({ events }) => apply(list.load(events, performance.now())),
      onEvent: (event) => apply(handle(event)),
    }),
  ];
  return () => {
    for (const release of releases) release();
    cancelFrame?.();
    clearTimeout(departure);
  };

  function handle(event: RealtimeEvent): PresenceChange[] {
    if (event.event !== MEMBERS) return list.handle(event, performance.now());
    const members = event.data as { readonly key: string }[];
    return list.load(members.map((data) => ({ ...event, key: data.key, data })), performance.now());
  }

  function apply(changes: readonly PresenceChange[]): void {
    for (const { kind, member } of changes) guarded(() => (kind === 'joined' ? onJoin : onLeave)?.(member));
    clearTimeout(departure);
    const wait = list.nextChange - performance.now();
    if (wait < Infinity) departure = setTimeout(() => apply(list.tick(performance.now())), wait);
    showSoon();
  }

  /** Show the state in the next frame: many members may join at once. */
  function showSoon(): void {
    cancelFrame ??= onNextFrame(() => {
      cancelFrame = null;
      const { phase, error } = client.channel(name).get();
      const { members, count } = list;
      show({ members, count, phase, error });
    });
  }
}
