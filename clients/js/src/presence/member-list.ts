/** Members of one channel, folded from events, each user once. Twin of protocol/presence/member_list.py. */

import type { PresenceMember, RealtimeEvent } from '../types.js';

/** Members in the list; beyond them a page has their number alone. */
const MAX_MEMBERS = 100;

/** Time for which a user who left stays in the list, in milliseconds: a page may reload. */
const STAY_MS = 2_000;

export interface PresenceChange {
  readonly kind: 'joined' | 'left';
  readonly member: PresenceMember;
}

/**
 * Keys belong to servers: a user on two servers has two. A user whose last key ended leaves after a moment, unless another key
 * comes. The members of the first snapshot have not joined: they were there.
 */
export class MemberList {
  /** User of each key. */
  private readonly _users = new Map<string, string>();
  /** Members by user and key, in the order of the keys' last events. */
  private readonly _present = new Map<string, Map<string, PresenceMember>>();
  /** Members by user, in the order in which they joined. */
  private readonly _shown = new Map<string, PresenceMember>();
  /** Moment at which a user who has no key is removed. */
  private readonly _leaving = new Map<string, number>();
  /** Number of users beyond the announced ones, by key: that of a server. */
  private readonly _more = new Map<string, number>();
  private _isLoaded = false;

  /** Members that joined first, 100 at most. */
  get members(): readonly PresenceMember[] {
    return [...this._shown.values()].slice(0, MAX_MEMBERS);
  }

  /** Number of all members, and of users that servers only count. */
  get count(): number {
    return [...this._more.values()].reduce((sum, more) => sum + more, this._shown.size);
  }

  /** Moment of the next departure; infinite if none is known. */
  get nextChange(): number {
    return Math.min(...this._leaving.values());
  }

  load(events: readonly RealtimeEvent[], now: number): PresenceChange[] {
    for (const known of [this._users, this._present, this._more]) known.clear();
    for (const event of events) this._fold(event);
    const changes = this._update([...this._present.keys(), ...this._shown.keys()], now);
    if (this._isLoaded) return changes;
    this._isLoaded = true;
    return [];
  }

  handle(event: RealtimeEvent, now: number): PresenceChange[] {
    return this._update(this._fold(event), now);
  }

  tick(now: number): PresenceChange[] {
    const due = [...this._leaving].filter(([, moment]) => moment <= now);
    return due.flatMap(([user]) => {
      const member = this._shown.get(user);
      this._leaving.delete(user);
      this._shown.delete(user);
      return member ? [{ kind: 'left', member }] : [];
    });
  }

  /** Fold an event, and return the users that it concerns. */
  private _fold({ key, fold, data }: RealtimeEvent): string[] {
    if (!key) return [];
    if (fold === 'end' || fold === 'lapse') return this._end(key);
    if (fold || !isFields(data)) return [];
    const { user, info, more } = data;
    if (typeof more === 'number' && Number.isInteger(more) && more > 0) this._more.set(key, more);
    if (typeof user !== 'string') return [];
    const former = this._end(key);
    const keys = this._present.get(user) ?? new Map<string, PresenceMember>();
    this._users.set(key, user);
    this._present.set(user, keys.set(key, { user, info: isFields(info) ? info : null }));
    return [...former, user];
  }

  /** End a key, and return its user. */
  private _end(key: string): string[] {
    this._more.delete(key);
    const user = this._users.get(key);
    if (user === undefined) return [];
    const keys = this._present.get(user);
    keys?.delete(key);
    if (!keys?.size) this._present.delete(user);
    this._users.delete(key);
    return [user];
  }

  /** Compare the list with the keys of some users, and return the changes. */
  private _update(users: readonly string[], now: number): PresenceChange[] {
    const changes = this.tick(now);
    for (const user of users) {
      const member = [...(this._present.get(user)?.values() ?? [])].at(-1); // the latest information counts
      if (member) {
        if (!this._shown.has(user)) changes.push({ kind: 'joined', member });
        this._shown.set(user, member);
        this._leaving.delete(user);
      } else if (this._shown.has(user) && !this._leaving.has(user)) {
        this._leaving.set(user, now + STAY_MS);
      }
    }
    return changes;
  }
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
