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
  /** Members by key, in the order of their last events. */
  private readonly _present = new Map<string, PresenceMember>();
  /** Members by user, in the order in which they joined. */
  private readonly _shown = new Map<string, PresenceMember>();
  /** Moment at which a user who has no key is removed. */
  private readonly _leaving = new Map<string, number>();
  private _isLoaded = false;

  /** Members that joined first, 100 at most. */
  get members(): readonly PresenceMember[] {
    return [...this._shown.values()].slice(0, MAX_MEMBERS);
  }

  get count(): number {
    return this._shown.size;
  }

  /** Moment of the next departure; infinite if none is known. */
  get nextChange(): number {
    return Math.min(...this._leaving.values());
  }

  load(events: readonly RealtimeEvent[], now: number): PresenceChange[] {
    this._present.clear();
    for (const event of events) this._fold(event);
    const changes = this._update(now);
    if (this._isLoaded) return changes;
    this._isLoaded = true;
    return [];
  }

  handle(event: RealtimeEvent, now: number): PresenceChange[] {
    this._fold(event);
    return this._update(now);
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

  private _fold({ key, fold, data }: RealtimeEvent): void {
    if (!key) return;
    if (fold === 'end' || fold === 'lapse') {
      this._present.delete(key);
    } else if (!fold && isFields(data) && typeof data.user === 'string') {
      this._present.delete(key); // then inserted last: the latest info counts
      this._present.set(key, { user: data.user, info: isFields(data.info) ? data.info : null });
    }
  }

  private _update(now: number): PresenceChange[] {
    const changes = this.tick(now);
    const present = new Map([...this._present.values()].map((member) => [member.user, member]));
    for (const [user, member] of present) {
      if (!this._shown.has(user)) changes.push({ kind: 'joined', member });
      this._shown.set(user, member);
      this._leaving.delete(user);
    }
    for (const user of this._shown.keys()) {
      if (!present.has(user) && !this._leaving.has(user)) this._leaving.set(user, now + STAY_MS);
    }
    return changes;
  }
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
