/** What an event says of its job, read from whatever words its producer uses. */

import type { RealtimeEvent } from '../types.js';

export type JobState = 'queued' | 'running' | 'retrying' | 'completed' | 'failed' | 'cancelled';

/** A value, `null` where the event says that there is none, `undefined` where it does not speak of it. */
type Said<Value> = Value | null | undefined;

export interface JobFields {
  readonly id: string;
  readonly state: JobState | 'removed' | undefined;
  readonly title: Said<string>;
  readonly percent: Said<number>;
  readonly stage: Said<string>;
  readonly message: Said<string>;
  readonly error: Said<string>;
  /** Unix milliseconds. */
  readonly retryAt: Said<number>;
  /** Bytes. */
  readonly bytesDone: Said<number>;
  /** Bytes. */
  readonly bytesTotal: Said<number>;
  /** Seconds that are left, as the worker estimates. */
  readonly secondsLeft: Said<number>;
  /** Unix milliseconds. */
  readonly createdAt: Said<number>;
  readonly version: Said<number>;
}

type Data = Readonly<Record<string, unknown>>;

const NAME = /^jobs?[.:_-](.+)$/;

/** By the stems of their words, the ends first: `succeeded`, `in_progress`, `pending`, `REVOKED` … */
const STATES: readonly (readonly [JobState | 'removed', RegExp])[] = [
  ['completed', /complet|succe|finish|done/],
  ['failed', /fail|err/],
  ['cancelled', /cancel|abort|revok/],
  ['removed', /remov|delet/],
  ['retrying', /retr/],
  ['running', /start|progress|running|processing|active/],
  ['queued', /queue|creat|pending|wait|schedul/],
];

/** Returns what the event says of a job, or `null` when it is not about one. */
export function readJob({ event, key, data: given, time }: RealtimeEvent): JobFields | null {
  const word = NAME.exec(event)?.[1];
  const data = dataOf(given);
  const id = first(data, 'job job_id task_id id', text) ?? key?.replace(NAME, '$1');
  if (!word || !id) return null;
  const bytesDone = first(data, 'bytes_done', number);
  const bytesTotal = first(data, 'bytes_total size', number);
  const at = (value: unknown): number | undefined => moment(value, time);
  return {
    id,
    state: stateOf(word) ?? stateOf(first(data, 'state status', text)),
    title: first(data, 'title name filename', text),
    percent: percentOf(data, bytesDone ?? first(data, 'done current', number), bytesTotal ?? first(data, 'total', number)),
    stage: first(data, 'stage', text),
    message: first(data, 'message', text),
    error: first(data, 'error', (error) => text(isRecord(error) ? error['message'] : error)),
    retryAt: first(data, 'retry_at retry_time retry_in countdown', at),
    bytesDone,
    bytesTotal,
    secondsLeft: first(data, 'eta', number),
    createdAt: first(data, 'created_at created', at),
    version: first(data, 'version', number),
  };
}

/** Jobs may be wrapped: `{job: {id, …}}`. */
function dataOf(data: unknown): Data {
  if (!isRecord(data)) return {};
  const { job, ...rest } = data;
  return isRecord(job) ? { ...rest, ...job } : data;
}

function stateOf(word: Said<string>): JobState | 'removed' | undefined {
  return STATES.find(([, stem]) => word && stem.test(word.toLowerCase()))?.[0];
}

/** `percent` counts to 100; `progress` to 1, or to 100 when it is beyond 1; else it is how much of how much. */
function percentOf(data: Data, done: Said<number>, total: Said<number>): Said<number> {
  const progress = first(data, 'progress', number);
  const percent = first(data, 'percent', number) ?? (progress && progress <= 1 ? progress * 100 : progress);
  const known = percent ?? (done != null && total ? (100 * done) / total : percent);
  return known && Math.min(100, Math.max(0, known));
}

/** Unix milliseconds of a text of ISO 8601, Unix milliseconds, Unix seconds, or seconds from now. */
function moment(value: unknown, now = NaN): number | undefined {
  const seconds = number(value);
  if (seconds === undefined) return number(Date.parse(String(value)));
  if (seconds >= 1e11) return seconds;
  return number(seconds >= 1e8 ? seconds * 1000 : now + seconds * 1000);
}

/** The first of these names that the event speaks of. */
function first<Value>(data: Data, names: string, read: (value: unknown) => Value | undefined): Said<Value> {
  const value = data[names.split(' ').find((name) => data[name] !== undefined) ?? ''];
  return value === null ? null : read(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value).trim() || undefined : undefined;
}

/** Of `30`, `'30'` or `'30 %'`. */
function number(value: unknown): number | undefined {
  const parsed = Number(text(value)?.replace('%', '') ?? NaN);
  return Number.isFinite(parsed) ? parsed : undefined;
}

function isRecord(value: unknown): value is Data {
  return typeof value === 'object' && value !== null;
}
