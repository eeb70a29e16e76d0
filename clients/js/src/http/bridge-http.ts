/** Events by polling: positions in; events, or word of a hole, out. */

import type { Channels } from '../channels/subscription-set.js';
import type { Descriptors } from './descriptor.js';
import { isHealthy } from '../transports/transport-session.js';
import { demand, isFields, numberOr, readEvents, readPosition } from '../messages.js';
import type { Fields } from '../messages.js';
import { askJson } from './request.js';
import type { Position, RealtimeEvent, ResetReason, Snapshot } from '../types.js';

export interface PollAnswer {
  /** Whether it brought anything. */
  moved: boolean;
  /** The channels of which the log has more. */
  recover: string[];
  /** The wait that the server wishes, in milliseconds. */
  nextMs: number | null;
  generation: number;
  /** Whether the log and the backend work. */
  ok: boolean;
}

/** Ask once for what follows our positions, and hand it to the channels. */
export async function poll(
  channels: Channels,
  descriptors: Descriptors,
  signal: AbortSignal,
): Promise<PollAnswer> {
  const token = await descriptors.token();
  const { positions } = channels;
  const fields = await askJson(descriptors.url('poll'), { body: { positions }, token, signal });
  demand(isFields(fields.channels), 'an answer to a poll');
  signal.throwIfAborted();
  const answer = readAnswer(fields);
  for (const [name, said] of Object.entries(fields.channels)) {
    if (isFields(said) && name in positions) {
      take(channels, name, said, positions[name] ?? null, answer);
    }
  }
  return answer;
}

/** Ask for the latest event of each key, page by page; the last page's position holds for all. */
export async function latest(
  channel: string,
  descriptors: Descriptors,
  signal: AbortSignal,
): Promise<Snapshot> {
  const token = await descriptors.token();
  const events = new Map<string, RealtimeEvent>();
  let after: Position | undefined;
  for (;;) {
    const url = latestUrl(descriptors.url('latest'), channel, after);
    const fields = await askJson(url, { token, signal });
    const position = readPosition(fields.position);
    demand(!after || after.epoch === position.epoch, 'of one epoch');
    const page = readEvents(fields.events);
    for (const event of page) keep(events, event);
    if (!fields.more) return { channel, events: [...events.values()], position };
    after = page.at(-1)?.position ?? position;
  }
}

function latestUrl(base: string, channel: string, after?: Position): string {
  const url = new URL(base);
  url.searchParams.set('channel', channel);
  if (after) url.searchParams.set('after', String(after.offset));
  return url.href;
}

function readAnswer({ next_ms, generation, status }: Fields): PollAnswer {
  return {
    moved: false,
    recover: [],
    nextMs: numberOr(null, next_ms),
    generation: numberOr(0, generation),
    ok: isFields(status) ? isHealthy(status) : true,
  };
}

function take(
  channels: Channels,
  name: string,
  said: Fields,
  asked: Position | null,
  answer: PollAnswer,
): void {
  if (said.error || !channels.has(name)) return;
  if (said.reset === 'forbidden') {
    channels.refuse(name, 'this user may not listen to it');
  } else if (said.reset) {
    answer.moved = true;
    const position = said.position ? readPosition(said.position) : null;
    const reason = said.reset as ResetReason;
    if (channels.reset(name, reason, position, asked)) answer.recover.push(name);
  } else {
    const events = readEvents(said.events);
    answer.moved ||= events.length > 0;
    const page = { events, top: readPosition(said.position), more: !!said.more };
    if (channels.page(name, page)) answer.recover.push(name);
  }
}

/** Of each key the latest, in the order of the channel. */
function keep(events: Map<string, RealtimeEvent>, event: RealtimeEvent): void {
  const key = event.key ?? event.id;
  events.delete(key);
  events.set(key, event);
}
