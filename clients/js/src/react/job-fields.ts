/** Fields of a job, read from an event; producers use different names and units. */

import type { JobQuestion } from '../payloads.js';
import type { RealtimeEvent } from '../types.js';

/** `asking`: the job waits for an answer. `lost`: its worker is silent, and may come back. */
export type JobState = 'queued' | 'running' | 'asking' | 'retrying' | 'lost' | 'completed' | 'failed' | 'cancelled';

/** Value of a field; `null`: the event clears it, `undefined`: the event does not contain it. */
type Optional<Value> = Value | null | undefined;

export interface JobFields {
  readonly id: string;
  readonly state: JobState | 'removed' | undefined;
  readonly title: Optional<string>;
  readonly percent: Optional<number>;
  readonly stage: Optional<string>;
  readonly message: Optional<string>;
  readonly error: Optional<string>;
  /** Unix milliseconds. */
  readonly retryAt: Optional<number>;
  /** Bytes. */
  readonly bytesDone: Optional<number>;
  /** Bytes. */
  readonly bytesTotal: Optional<number>;
  /** Remaining time in seconds, as the worker estimates it. */
  readonly secondsLeft: Optional<number>;
  /** Unix milliseconds. */
  readonly createdAt: Optional<number>;
  readonly version: Optional<number>;
  /** Id of the job that this one is a part of. */
  readonly parent: Optional<string>;
  /** True if people may cancel the job. */
  readonly cancellable: Optional<boolean>;
  readonly question: Optional<JobQuestion>;
  readonly result: unknown;
  /** The user who cancelled the job. */
  readonly by: Optional<string>;
}

type Data = Readonly<Record<string, unknown>>;

/** Largest time of a `Date`, in Unix milliseconds. */
const MAX_DATE = 8.64e15;

const NAME = /^jobs?[.:_-](.+)$/;

/** States by parts of words, final states first: `succeeded`, `in_progress`, `pending`, `REVOKED` … */
const STATES: readonly (readonly [JobState | 'removed', RegExp])[] = [
  ['completed', /complet|succe|finish|done/],
  ['failed', /fail|err/],
  ['cancelled', /cancel|abort|revok/],
  ['removed', /remov|delet/],
  ['retrying', /retr/],
  ['asking', /^asking$/],
  ['lost', /^lost$/],
  ['running', /start|progress|running|processing|active/],
  ['queued', /queue|creat|pending|wait|schedul/],
];

/** Return the job's fields of an event, or `null` where it is about no job. */
export function readJob({ event, key, data: payload, time }: RealtimeEvent): JobFields | null {
  const name = NAME.exec(event)?.[1];
  const data = dataOf(payload);
  const id = first(data, 'job job_id task_id id', text) ?? key?.replace(NAME, '$1');
  if (!name || !id) return null;
  const bytesDone = first(data, 'bytes_done', amount);
  const bytesTotal = first(data, 'bytes_total size', amount);
  const at = (value: unknown): number | undefined => moment(value, validDate(time));
  return {
    id,
    state: stateOf(name) ?? stateOf(first(data, 'state status', text)),
    title: first(data, 'title name filename', text),
    percent: percentOf(data, bytesDone ?? first(data, 'done current', number), bytesTotal ?? first(data, 'total', number)),
    stage: first(data, 'stage', text),
    message: first(data, 'message', text),
    error: first(data, 'error', (error) => text(isRecord(error) ? error['message'] : error)),
    retryAt: first(data, 'retry_at retry_time retry_in countdown', at),
    bytesDone,
    bytesTotal,
    secondsLeft: first(data, 'eta', amount),
    createdAt: first(data, 'created_at created', at),
    version: first(data, 'version', number),
    parent: first(data, 'parent', text),
    cancellable: first(data, 'cancellable', flag),
    question: first(data, 'question', questionOf),
    result: data['result'],
    by: first(data, 'by', text),
  };
}

function questionOf(value: unknown): JobQuestion | undefined {
  if (!isRecord(value)) return undefined;
  const id = first(value, 'id', text);
  if (!id) return undefined;
  const choices = value['choices'];
  return { id, text: first(value, 'text', text) ?? '', choices: Array.isArray(choices) ? choices.map(String) : null };
}

/** Return the job's data, which may be nested: `{job: {id, …}}`. */
function dataOf(data: unknown): Data {
  if (!isRecord(data)) return {};
  const { job, ...rest } = data;
  return isRecord(job) ? { ...rest, ...job } : data;
}

function stateOf(name: Optional<string>): JobState | 'removed' | undefined {
  return STATES.find(([, stem]) => name && stem.test(name.toLowerCase()))?.[0];
}

/** Return the percentage: `percent` of 100, `progress` of 1 (of 100 where it exceeds 1), or `done` of `total`. */
function percentOf(data: Data, done: Optional<number>, total: Optional<number>): Optional<number> {
  const progress = first(data, 'progress', number);
  const percent = first(data, 'percent', number) ?? (progress && progress <= 1 ? progress * 100 : progress);
  const result = percent ?? (done != null && total ? (100 * done) / total : percent);
  return result && Math.min(100, Math.max(0, result));
}

/** Convert ISO 8601, Unix milliseconds, Unix seconds or seconds from now to Unix milliseconds. */
function moment(value: unknown, now = NaN): number | undefined {
  const seconds = number(value);
  if (seconds === undefined) return validDate(Date.parse(String(value)));
  // 1e11 ms and 1e8 s are both in 1973: this distinguishes milliseconds, seconds and waits.
  if (seconds >= 1e11) return validDate(seconds);
  return validDate(seconds >= 1e8 ? seconds * 1000 : now + seconds * 1000);
}

/** Return a time in Unix milliseconds, if a `Date` can hold it. */
export function validDate(at: unknown): number | undefined {
  return typeof at === 'number' && Math.abs(at) <= MAX_DATE ? at : undefined;
}

/** Read the first of these fields that the event contains. */
function first<Value>(data: Data, names: string, read: (value: unknown) => Value | undefined): Optional<Value> {
  const value = data[names.split(' ').find((name) => data[name] !== undefined) ?? ''];
  return value === null ? null : read(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value).trim() || undefined : undefined;
}

function flag(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined;
}

/** Read a number from `30`, `'30'` or `'30 %'`. */
function number(value: unknown): number | undefined {
  const parsed = Number(text(value)?.replace('%', '') ?? NaN);
  return Number.isFinite(parsed) ? parsed : undefined;
}

/** Read a number that is not negative, and not beyond what a text can show. */
function amount(value: unknown): number | undefined {
  const parsed = number(value);
  return parsed !== undefined && parsed >= 0 && parsed <= Number.MAX_SAFE_INTEGER ? parsed : undefined;
}

function isRecord(value: unknown): value is Data {
  return typeof value === 'object' && value !== null;
}
