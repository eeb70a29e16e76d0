/** What an event says of its job, read from whatever words its producer uses. */

import type { RealtimeEvent } from '../types.js';

export type JobState = 'queued' | 'running' | 'retrying' | 'completed' | 'failed' | 'cancelled';

/** Of each field: `undefined` when the event does not speak of it, `null` when it says that there is none. */
export interface JobFields {
  readonly id: string;
  readonly state: JobState | 'removed' | undefined;
  readonly title: string | null | undefined;
  readonly percent: number | null | undefined;
  readonly stage: string | null | undefined;
  readonly message: string | null | undefined;
  readonly error: string | null | undefined;
  /** Unix milliseconds. */
  readonly retryAt: number | null | undefined;
  /** Bytes. */
  readonly bytesDone: number | null | undefined;
  /** Bytes. */
  readonly bytesTotal: number | null | undefined;
  /** Seconds that are left, as the worker estimates. */
  readonly secondsLeft: number | null | undefined;
  /** Unix milliseconds. */
  readonly createdAt: number | null | undefined;
  readonly version: number | null | undefined;
}

type Data = Readonly<Record<string, unknown>>;

const NAME = /^jobs?[.:_-](.+)$/;

const WORDS: Record<JobState | 'removed', readonly string[]> = {
  queued: ['queued', 'created', 'pending', 'waiting', 'scheduled', 'enqueued'],
  running: ['started', 'progress', 'running', 'processing', 'active', 'working', 'in_progress'],
  retrying: ['retrying', 'retry', 'retried'],
  completed: ['completed', 'complete', 'succeeded', 'success', 'finished', 'done'],
  failed: ['failed', 'failure', 'error', 'errored'],
  cancelled: ['cancelled', 'canceled', 'aborted', 'revoked'],
  removed: ['removed', 'deleted', 'delete'],
};

const STATES = new Map(
  Object.entries(WORDS).flatMap(([state, words]) =>
    words.map((word) => [word, state as JobState | 'removed'] as const),
  ),
);

/** Returns what the event says of a job, or `null` when it is not about one. */
export function readJob(event: RealtimeEvent): JobFields | null {
  const word = NAME.exec(event.event)?.[1];
  const data = dataOf(event.data);
  const id = idOf(event, data);
  if (word === undefined || id === null) return null;
  const done = number(data, 'bytes_done', 'bytesDone', 'bytes', 'done', 'current', 'processed');
  const total = number(data, 'bytes_total', 'bytesTotal', 'total_bytes', 'size', 'total');
  const inBytes = total === undefined || total === null ? false : isInBytes(data);
  return {
    id,
    state: STATES.get(word) ?? stateOf(data),
    title: text(data, 'title', 'name', 'filename', 'label'),
    percent: percentOf(data) ?? ratio(done, total),
    stage: text(data, 'stage', 'step', 'phase'),
    message: text(data, 'message', 'detail', 'description'),
    error: errorOf(data),
    retryAt: retryOf(data, event.time),
    bytesDone: inBytes ? done : undefined,
    bytesTotal: inBytes ? total : undefined,
    secondsLeft: number(data, 'eta', 'seconds_left', 'remaining', 'time_left'),
    createdAt: moment(first(data, 'created_at', 'createdAt', 'created'), event.time),
    version: number(data, 'version', 'seq'),
  };
}

/** Jobs may be wrapped: `{job: {id, …}}`. */
function dataOf(data: unknown): Data {
  if (!isRecord(data)) return {};
  return isRecord(data['job']) ? { ...data, ...data['job'] } : data;
}

function idOf(event: RealtimeEvent, data: Data): string | null {
  for (const name of ['job', 'job_id', 'jobId', 'id', 'task_id']) {
    const value = data[name];
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'number') return String(value);
  }
  return event.key?.replace(NAME, '$1') ?? null;
}

function stateOf(data: Data): JobState | 'removed' | undefined {
  const word = text(data, 'state', 'status');
  return word ? STATES.get(word.toLowerCase()) : undefined;
}

/** `percent` counts to 100; `progress` to 1, or to 100 when it is beyond 1. */
function percentOf(data: Data): number | null | undefined {
  const percent = number(data, 'percent', 'percentage');
  if (percent !== undefined) return percent === null ? null : within(percent);
  const progress = first(data, 'progress', 'fraction');
  if (isRecord(progress)) return percentOf(progress) ?? ratio(number(progress, 'done', 'current'), number(progress, 'total'));
  const value = numeric(progress);
  if (typeof value !== 'number') return value;
  return within(value <= 1 ? value * 100 : value);
}

function ratio(done: number | null | undefined, total: number | null | undefined): number | undefined {
  return typeof done === 'number' && typeof total === 'number' && total > 0 ? within((100 * done) / total) : undefined;
}

function within(percent: number): number {
  return Math.min(100, Math.max(0, percent));
}

function isInBytes(data: Data): boolean {
  return ['bytes_done', 'bytesDone', 'bytes', 'bytes_total', 'bytesTotal', 'total_bytes'].some((name) => name in data);
}

/** An error is a sentence, or an object that holds one. */
function errorOf(data: Data): string | null | undefined {
  const error = first(data, 'error', 'exception', 'reason');
  return isRecord(error) ? text(error, 'message', 'detail', 'error', 'type') : text(data, 'error', 'exception', 'reason');
}

function retryOf(data: Data, now: number | undefined): number | null | undefined {
  const at = moment(first(data, 'retry_at', 'retryAt', 'retry_time', 'retryTime', 'next_retry_at'), now);
  if (at !== undefined) return at;
  const wait = number(data, 'retry_in', 'retryIn', 'countdown');
  return typeof wait === 'number' && now !== undefined ? now + wait * 1000 : undefined;
}

/** A text of ISO 8601, Unix milliseconds, Unix seconds, or seconds from now. */
function moment(value: unknown, now: number | undefined): number | null | undefined {
  if (typeof value === 'string' && !/^\d+(\.\d+)?$/.test(value)) {
    const parsed = Date.parse(value);
    return Number.isNaN(parsed) ? undefined : parsed;
  }
  const seconds = numeric(value);
  if (typeof seconds !== 'number') return seconds;
  if (seconds >= 1e11) return seconds;
  if (seconds >= 1e8) return seconds * 1000;
  return now === undefined ? undefined : now + seconds * 1000;
}

function first(data: Data, ...names: readonly string[]): unknown {
  return data[names.find((name) => data[name] !== undefined) ?? ''];
}

function text(data: Data, ...names: readonly string[]): string | null | undefined {
  const value = first(data, ...names);
  if (value === null) return null;
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
}

function number(data: Data, ...names: readonly string[]): number | null | undefined {
  return numeric(first(data, ...names));
}

function numeric(value: unknown): number | null | undefined {
  if (value === null) return null;
  const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value.replace(/\s*%$/, '')) : value;
  return typeof parsed === 'number' && Number.isFinite(parsed) ? parsed : undefined;
}

function isRecord(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
