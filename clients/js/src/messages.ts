/** The wire: JSON objects, parsed once, here. */

import type { Position, RealtimeEvent } from './types.js';

export const VERSION = 1;
export const SUBPROTOCOL = 'realtime.v1';

/** An object that came from outside: each field is looked at before it is believed. */
export type Fields = Readonly<Record<string, unknown>>;

/** What a server sends; `type` says what it is. */
export interface Frame extends Fields {
  readonly type: string;
}

/** What a client sends. */
export type ClientFrame =
  | { type: 'connect'; token: string; nonce: string; version: number }
  | { type: 'subscribe'; channel: string; position?: Position }
  | { type: 'unsubscribe'; channel: string }
  | { type: 'ping'; nonce: string }
  | { type: 'token'; token: string };

/** Whatever is not what the bridge says is thrown out by one of these. */
export function demand(condition: unknown, what: string): asserts condition {
  if (!condition) throw new TypeError(`the server said what is not ${what}`);
}

export function parseFrame(text: unknown): Frame {
  const fields: unknown = JSON.parse(text as string);
  demand(isFields(fields) && isText(fields.type), 'a frame');
  return fields as Frame;
}

export function readEvent(fields: unknown): RealtimeEvent {
  demand(isFields(fields), 'an event');
  const { type, epoch, offset, data = null, ...rest } = fields as Fields & RealtimeEvent;
  demand([rest.channel, rest.event, rest.id].every(isText), 'an event');
  return { ...rest, data, ...(epoch !== undefined && { position: readPosition(fields) }) };
}

export function readEvents(list: unknown): RealtimeEvent[] {
  return Array.isArray(list) ? list.map(readEvent) : [];
}

/** A position, alone or among a frame's other fields. */
export function readPosition(fields: unknown): Position {
  const { epoch, offset, id } = fields as Partial<Position>;
  demand(isText(epoch) && typeof offset === 'number', 'a position');
  return isText(id) ? { epoch, offset, id } : { epoch, offset };
}

export function numberOr<Other>(otherwise: Other, value: unknown): number | Other {
  return typeof value === 'number' ? value : otherwise;
}

/** What a server calls seconds, as the milliseconds that we count in. */
export function milliseconds(seconds: unknown, otherwise: number): number {
  return typeof seconds === 'number' && seconds >= 0 ? Math.round(seconds * 1_000) : otherwise;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}
