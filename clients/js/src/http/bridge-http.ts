/** HTTP side of a bridge: polls, snapshots, and requests to streams and jobs. */

import { assertValid, isFields, readEvents, readPosition } from '../messages.js';
import type { Fields } from '../messages.js';
import type { Position, RealtimeEvent, Snapshot } from '../types.js';
import type { DescriptorStore } from './descriptor.js';
import { HTTPError, foreign, hasCode, messageOf, requestJSON } from './request.js';

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

/** Stream to stop, if `attempt` writes it. */
export interface StreamAttempt {
  readonly channel: string;
  readonly stream: string;
  readonly attempt?: string;
}

/** Job to cancel. */
export interface JobCancel {
  readonly channel: string;
  readonly job: string;
  /** Text for the job's log and its watchers. */
  readonly reason?: string;
}

/** Answer to a question of a job. */
export interface JobAnswer {
  readonly channel: string;
  readonly job: string;
  readonly question: string;
  /** JSON of up to 8 KiB. */
  readonly value: unknown;
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

  /** Stop a stream, unless it has ended. */
  async stopStream(fields: StreamAttempt, signal: AbortSignal): Promise<void> {
    try {
      await this._post('stop', fields, signal);
    } catch (error) {
      if (!hasCode(error, 'ended')) throw error;
    }
  }

  /** Ask a job to end. */
  async cancelJob(fields: JobCancel, signal: AbortSignal): Promise<void> {
    await this._post('cancel', fields, signal);
  }

  /** Answer a question of a job. */
  async answerJob(fields: JobAnswer, signal: AbortSignal): Promise<void> {
    await this._post('answer', fields, signal);
  }

  /**
   * Request the latest event of each key, page by page; the position of the last page holds for all.
   * With `key`, request the events that describe the state of that key.
   */
  async latest(channel: string, key: string | undefined, signal: AbortSignal): Promise<Snapshot> {
    const token = await this._descriptors.token();
    const groups = new Map<string, RealtimeEvent[]>();
    let after: Position | undefined;
    for (;;) {
      const url = latestURL(this._descriptors.url('latest'), { channel, key, after: after?.offset });
      const fields = await requestJSON(url, { token, signal });
      const position = readPosition(fields.position);
      assertValid(!after || after.epoch === position.epoch, 'pages of one epoch');
      const page = readEvents(fields.events).filter((event) => event !== null);
      addGroups(groups, page);
      if (!fields.more) return { channel, events: [...groups.values()].flat(), position };
      const last = page.at(-1)?.position ?? position;
      assertValid(!after || last.offset > after.offset, 'pages that advance');
      after = last;
    }
  }

  private async _post(name: 'stop' | 'cancel' | 'answer', body: object, signal: AbortSignal): Promise<void> {
    try {
      const url = this._descriptors.requiredURL(name);
      await requestJSON(url, { body, token: await this._descriptors.token(), signal });
    } catch (error) {
      throw messageOf(error) ? error : new HTTPError(`no answer: ${name} may have had no effect`, null);
    }
  }
}

/** Cut a list into pieces of at most `size`; an empty list is one piece. */
export function chunked(names: readonly string[], size: number): string[][] {
  return names.length > size ? [names.slice(0, size), ...chunked(names.slice(size), size)] : [[...names]];
}

function latestURL(base: string, query: Record<string, string | number | undefined>): string {
  const url = new URL(base);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
  return url.href;
}

/** Add the groups of a page: the events of one key, which no page divides. They replace an earlier group of the key. */
function addGroups(groups: Map<string, RealtimeEvent[]>, page: readonly RealtimeEvent[]): void {
  const keyOf = ({ key, id }: RealtimeEvent): string => key ?? id;
  // Deleting first moves the key to the end, which keeps the channel's order.
  for (const event of page) groups.delete(keyOf(event));
  for (const event of page) groups.set(keyOf(event), [...(groups.get(keyOf(event)) ?? []), event]);
}
