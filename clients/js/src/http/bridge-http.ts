/** HTTP side of a bridge: polls, and the latest event of each key. */

import { assertValid, isFields, readEvents, readPosition } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Position, RealtimeEvent, Snapshot } from '../types.js';
import type { DescriptorStore } from './descriptor.js';
import { HTTPError, foreign, requestJSON } from './request.js';

export type Positions = Readonly<Record<string, Position | null>>;

/** Response to a poll. */
export interface HTTPResult {
  /** Positions that the request contained. */
  readonly positions: Positions;
  /** Results by channel: events, or a reset. */
  readonly channels: Fields;
  /** All fields of the response. */
  readonly fields: Fields;
}

/** Requests to one bridge, with the token of its last descriptor. */
export class BridgeHTTP {
  constructor(private readonly _descriptors: DescriptorStore) {}

  /** Request the events after these positions. */
  async poll(positions: Positions, token: string | null, signal: AbortSignal): Promise<HTTPResult> {
    const fields = await requestJSON(this._descriptors.url('poll'), { body: { positions }, token, signal });
    if (!isFields(fields.channels)) throw new HTTPError(foreign(200), null);
    return { positions, channels: fields.channels, fields };
  }

  /** Request the latest event of each key, page by page; the position of the last page holds for all. */
  async latest(channel: string, signal: AbortSignal): Promise<Snapshot> {
    const token = await this._descriptors.token();
    const events = new Map<string, RealtimeEvent>();
    let after: Position | undefined;
    for (;;) {
      const url = latestURL(this._descriptors.url('latest'), channel, after);
      const fields = await requestJSON(url, { token, signal });
      const position = readPosition(fields.position);
      assertValid(!after || after.epoch === position.epoch, 'pages of one epoch');
      const page = readEvents(fields.events).filter((event) => event !== null);
      for (const event of page) addLatest(events, event);
      if (!fields.more) return { channel, events: [...events.values()], position };
      after = page.at(-1)?.position ?? position;
    }
  }
}

/** Cut a list into pieces of at most `size`; an empty list is one piece. */
export function chunked(names: readonly string[], size: number): string[][] {
  return names.length > size ? [names.slice(0, size), ...chunked(names.slice(size), size)] : [[...names]];
}

function latestURL(base: string, channel: string, after?: Position): string {
  const url = new URL(base);
  url.searchParams.set('channel', channel);
  if (after) url.searchParams.set('after', String(after.offset));
  return url.href;
}

/** Replace the event of a key. Deleting first moves the key to the end, which keeps the channel's order. */
function addLatest(events: Map<string, RealtimeEvent>, event: RealtimeEvent): void {
  const key = event.key ?? event.id;
  events.delete(key);
  events.set(key, event);
}
