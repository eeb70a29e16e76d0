/** Results of polls, applied to a client's subscriptions. */

import type { HTTPResult } from '../http/bridge-http.js';
import { FINAL, isFields, isHealthy, numberOr, readEvents, readPosition } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Position, ResetReason } from '../types.js';
import type { SubscriptionSet } from './subscription-set.js';

/** Reason of a denial that the server gives without words. */
export const FORBIDDEN = 'this user may not listen to it';

export interface PollResult {
  /** True if the poll brought events or a reset. */
  moved: boolean;
  /** Channels of which the log has more. */
  recover: string[];
  /** Wait that the server asked for, in milliseconds. */
  nextMs: number | null;
  generation: number;
  /** True if the log and the backend work. */
  ok: boolean;
}

export function emptyResult(): PollResult {
  return { moved: false, recover: [], nextMs: null, generation: 0, ok: true };
}

/**
 * Pass the result of each channel to its subscription, and add it to the result of a poll. Return
 * the denied channels: connections have to leave them too.
 */
export function applyPoll(
  subscriptions: SubscriptionSet,
  { positions, channels, fields }: HTTPResult,
  result: PollResult,
): string[] {
  const denied: string[] = [];
  result.nextMs = numberOr(result.nextMs, fields.next_ms);
  result.generation = Math.max(result.generation, numberOr(0, fields.generation));
  result.ok &&= isFields(fields.status) ? isHealthy(fields.status) : true;
  for (const [name, answer] of Object.entries(channels)) {
    // A channel may have been unsubscribed while the poll was in flight.
    if (!isFields(answer) || !(name in positions) || !subscriptions.isAllowed(name)) continue;
    const isForbidden = answer.reset === 'forbidden';
    const error = (isForbidden ? { code: 403, message: FORBIDDEN } : answer.error) as Fields | undefined;
    if (!error) applyChannel(subscriptions, name, answer, positions[name] ?? null, result);
    // A rule that failed may succeed next time: the next poll includes the channel again.
    else if (FINAL.includes(Number(error.code))) {
      subscriptions.deny(name, String(error.message));
      denied.push(name);
    }
  }
  return denied;
}

function applyChannel(
  subscriptions: SubscriptionSet,
  name: string,
  answer: Fields,
  requested: Position | null,
  result: PollResult,
): void {
  if (answer.reset) {
    result.moved = true;
    const position = answer.position ? readPosition(answer.position) : null;
    const reason = answer.reset as ResetReason;
    if (subscriptions.reset(name, reason, position, requested)) result.recover.push(name);
  } else {
    result.moved ||= !!(answer.events as unknown[] | undefined)?.length;
    const top = readPosition(answer.position);
    if (applyPage(subscriptions, name, answer, top, requested)) result.recover.push(name);
  }
}

/**
 * Pass a page of the log to its channel; return whether the log has more events. An unreadable event
 * makes the page a gap: the next request begins after the page, so that it is not requested again
 * and again.
 */
export function applyPage(
  subscriptions: SubscriptionSet,
  name: string,
  fields: Fields,
  top: Position,
  requested: Position | null,
): boolean {
  const events = readEvents(fields.events);
  const more = !!fields.more;
  if (events.every((event) => event !== null)) return subscriptions.page(name, { events, top, more });
  // A server sends the next page, and live events after it, only on request.
  return subscriptions.reset(name, 'truncated', top, requested) || more;
}
