/** JSON messages between client and server; each is parsed and checked here, once. */

import { debug } from './browser/debug.js';
import type { Position, RealtimeEvent } from './types.js';

export const VERSION = 1;
export const SUBPROTOCOL = 'realtime.v1';
export const INVALID_MESSAGE = 'the server sent an invalid message';

const log = debug('messages');

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** JSON object from outside: a field is checked before it is used. */
export type Fields = Readonly<Record<string, unknown>>;

/** Message of a server. */
export interface ServerMessage extends Fields {
  readonly type: string;
}

/** Message of a client. */
export type ClientMessage =
  | { type: 'connect'; token: string; nonce: string; version: number }
  | { type: 'subscribe'; channel: string; position?: Position }
  | { type: 'unsubscribe'; channels: readonly string[] }
  | { type: 'ping'; nonce: string }
  | { type: 'token'; token: string; nonce: string };

/** Throw a `TypeError` where the server's data is not as expected. */
export function assertValid(condition: unknown, expected: string): asserts condition {
  if (!condition) throw new TypeError(`invalid data from the server: expected ${expected}`);
}

export function parseMessage(text: unknown): ServerMessage {
  const fields: unknown = JSON.parse(text as string);
  assertValid(isFields(fields) && isText(fields.type), 'a message');
  return fields as ServerMessage;
}

function parseEvent(fields: unknown): RealtimeEvent {
  assertValid(isFields(fields), 'an event');
  const { type, epoch, offset, traceparent, data = null, ...rest } = fields as Fields & RealtimeEvent;
  assertValid([rest.channel, rest.event, rest.id].every(isText), 'an event');
  assertValid([rest.key, rest.source, rest.fold, rest.attempt].every((label) => label == null || isText(label)), 'an event with labels');
  assertValid(rest.time == null || Number.isFinite(rest.time), 'an event with a time');
  const trace = isText(traceparent) && TRACEPARENT.test(traceparent) && { traceparent };
  return { ...rest, ...trace, data, ...(epoch !== undefined && { position: readPosition(fields) }) };
}

/** Return the event of a message; null, with a line for developers, if it breaks the rules. */
export function readEvent(fields: unknown): RealtimeEvent | null {
  try {
    return parseEvent(fields);
  } catch (error) {
    log('unreadable event: %s', error);
    return null;
  }
}

export function readEvents(list: unknown): (RealtimeEvent | null)[] {
  return Array.isArray(list) ? list.map(readEvent) : [];
}

/** Return a position from an object that may have other fields too. */
export function readPosition(fields: unknown): Position {
  const { epoch, offset, id } = fields as Partial<Position>;
  const isOffset = typeof offset === 'number' && Number.isSafeInteger(offset) && offset >= 0;
  assertValid(isText(epoch) && isOffset, 'a position');
  return isText(id) ? { epoch, offset, id } : { epoch, offset };
}

/** Return whether a `status` reports a working log and backend; an absent field reports no fault. */
export function isHealthy({ log, backend }: Fields): boolean {
  return [log, backend].every((report) => report === undefined || report === 'ok');
}

export function numberOr<Other>(otherwise: Other, value: unknown): number | Other {
  return typeof value === 'number' ? value : otherwise;
}

/** Longest time that a server can announce, a year: a timer without an end would fire at once. */
const MAX_SECONDS = 31_536_000;

/** Convert a server's seconds to milliseconds. */
export function milliseconds(seconds: unknown, otherwise: number): number {
  return typeof seconds === 'number' && seconds >= 0 ? Math.round(Math.min(seconds, MAX_SECONDS) * 1_000) : otherwise;
}

/** Codes of refusals that are final for a channel. */
export const FINAL: readonly number[] = [400, 403];

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}
