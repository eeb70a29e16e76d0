/** Reducer of a user's jobs; all functions are pure. */

import type { JobQuestion } from '../payloads.js';
import type { RealtimeEvent } from '../types.js';
import { readJob, validDate, type JobFields, type JobState } from './job-fields.js';

export type { JobState } from './job-fields.js';

/** Job as a page shows it. */
export interface Job {
  readonly id: string;
  readonly title: string;
  readonly state: JobState;
  /** 0 to 100; `null`: unknown. */
  readonly percent: number | null;
  readonly stage: string | null;
  readonly message: string | null;
  readonly error: string | null;
  /** Time of the next attempt, in Unix milliseconds. */
  readonly retryAt: number | null;
  /** Bytes. */
  readonly bytesDone: number | null;
  /** Bytes. */
  readonly bytesTotal: number | null;
  /** Remaining time in seconds, as the worker estimates it. */
  readonly secondsLeft: number | null;
  /** Unix milliseconds. */
  readonly createdAt: number | null;
  /** Time of the last event of the job, in Unix milliseconds. */
  readonly updatedAt: number | null;
  readonly version: number | null;
  /** Name of the run that reports; `null` before the start. */
  readonly attempt: string | null;
  /** True from a request to cancel the job until its end. */
  readonly cancelling: boolean;
  readonly cancellable: boolean;
  /** Question that waits for an answer. */
  readonly question: JobQuestion | null;
  /** Id of the job that this one is a part of. */
  readonly parent: string | null;
  /** Value that the job completed with. */
  readonly result: unknown;
  /** The user who cancelled the job. */
  readonly by: string | null;
}

/** Jobs, the newest first. */
export type Jobs = readonly Job[];

/** Limit of ended jobs in the list, the last that ended; active jobs have none. */
export const MAX_ENDED = 100;

/** Limit of ended parts whose job is active, for its progress is their mean. A log keeps as many keys of a channel. */
export const MAX_PARTS = 1_000;

const ENDED: readonly JobState[] = ['completed', 'failed', 'cancelled'];

/**
 * Event names that change a job after its end too: the captured row of a table is authoritative, and a start begins a new run,
 * as of a task that its queue delivers again.
 */
const AFTER_END = /(insert|update|started)$/;

/** Note of people who asked to cancel a job. It stays beside the job, so a snapshot may have it before the job's state. */
const CANCELLING = 'job.cancelling';

/** Return whether a job has ended; only a new run, or the row of a table, changes it then. */
export function hasEnded(job: Job): boolean {
  return ENDED.includes(job.state);
}

/** Return the jobs after an event, or the same list where it changes none. For `reduce` of `useHybridUpdates`. */
export function reduceJobs(jobs: Jobs | null | undefined, event: RealtimeEvent): Jobs {
  const before = jobs ?? [];
  const fields = readJob(event);
  if (!fields) return before;
  const job = before.find(({ id }) => id === fields.id);
  if (!event.fold && fields.state === 'removed') return job ? before.filter((other) => other !== job) : before;
  if (job ? !isNews(job, fields, event) : event.fold === 'note' && event.event !== CANCELLING) return before;
  const next = settle(advance(job, fields, event));
  if (next === job) return before;
  return trim(job ? before.map((other) => (other === job ? next : other)) : [next, ...before], next);
}

/** Return the jobs of a snapshot together with known ended jobs, which an older state of a restored log must not reopen. */
export function loadJobs(jobs: Jobs, events: readonly RealtimeEvent[]): Jobs {
  const isOutdated = ({ id, updatedAt }: Job): boolean =>
    events.some((event) => (event.time ?? 0) > (updatedAt ?? 0) && readJob(event)?.id === id);
  const known = jobs.filter((job) => hasEnded(job) && !isOutdated(job));
  const loaded = events.reduce(reduceJobs, known);
  return [...loaded].sort((one, other) => (other.createdAt ?? 0) - (one.createdAt ?? 0));
}

/** Return the jobs that have ended since `before`; with `unknown`, also ended jobs that it did not contain. */
export function justEnded(before: Jobs, after: Jobs, { unknown }: { readonly unknown: boolean }): Jobs {
  return after.filter((job) => {
    const earlier = before.find(({ id }) => id === job.id);
    return hasEnded(job) && (earlier ? !hasEnded(earlier) : unknown);
  });
}

/** Return `limit` jobs in their order, active ones before ended ones. */
export function foremost(jobs: Jobs, limit: number): Jobs {
  const ranked = [...jobs.filter((job) => !hasEnded(job)), ...jobs.filter(hasEnded)];
  const visible = new Set(ranked.slice(0, limit));
  return jobs.filter((job) => visible.has(job));
}

/**
 * Return whether an event changes a known job. The order of the events decides, which is the log's: `version` comes from the
 * clock of one host, and the clocks of two hosts differ.
 */
function isNews(job: Job, { state }: JobFields, event: RealtimeEvent): boolean {
  if (event.fold) return !hasEnded(job);
  if (isOtherRun(job, event)) return true;
  // The process that enqueues publishes `queued`: it may be later than the worker's start.
  const isLate = state === 'queued' ? job.state !== 'queued' : hasEnded(job);
  return !isLate || AFTER_END.test(event.event);
}

/** Return whether an event is of another run than the last ones: it has taken the job over. */
function isOtherRun(job: Job, { fold, attempt }: RealtimeEvent): boolean {
  return !fold && attempt !== undefined && attempt !== job.attempt;
}

/** Return the job after an event; `job` is absent for one that was not known. */
function advance(job: Job | undefined, fields: JobFields, event: RealtimeEvent): Job {
  const at = validDate(event.time) ?? null;
  if (event.fold === 'note') return note(job ?? merge(undefined, { ...fields, state: 'queued' }, at), event);
  const state = fields.state ?? job?.state ?? 'queued';
  const before = job && begin(job, state as JobState, isOtherRun(job, event));
  const next = merge(before, fields, at);
  if (event.fold === 'lapse') return next;
  return { ...next, attempt: event.attempt ?? next.attempt };
}

/** Return the job after something that people did: they asked to cancel it, or answered its question. */
function note(job: Job, { event, data }: RealtimeEvent): Job {
  if (event === CANCELLING) return job.cancelling ? job : { ...job, cancelling: true };
  const { question } = (data ?? {}) as { readonly question?: unknown };
  const isAnswer = event === 'job.answered' && job.state === 'asking' && job.question?.id === question;
  return isAnswer ? { ...job, state: 'running' } : job;
}

function merge(before: Job | undefined, fields: JobFields, at: number | null): Job {
  const values = Object.entries(fields).map(([name, value]) => [name, value === undefined ? (before?.[name as keyof Job] ?? null) : value]);
  return {
    ...(Object.fromEntries(values) as Job),
    state: (fields.state ?? before?.state ?? 'queued') as JobState,
    title: fields.title ?? before?.title ?? `Job ${fields.id}`,
    createdAt: before ? before.createdAt : (fields.createdAt ?? at),
    updatedAt: at ?? before?.updatedAt ?? null,
    attempt: before?.attempt ?? null,
    cancelling: before?.cancelling ?? false,
    cancellable: fields.cancellable ?? (fields.cancellable === undefined && (before?.cancellable ?? false)),
  };
}

/** Clear the progress of the attempt before when a new one starts. */
function begin(job: Job, state: JobState, isOther: boolean): Job {
  if (!isOther && ((job.state !== 'retrying' && !hasEnded(job)) || state !== 'running')) return job;
  return { ...job, percent: null, stage: null, message: null, bytesDone: null, result: null, by: null };
}

/** Remove values that contradict the state. */
function settle(job: Job): Job {
  const { state } = job;
  const isWell = state === 'completed' || state === 'running';
  const settled = {
    ...job,
    percent: state === 'completed' ? 100 : job.percent,
    error: isWell ? null : job.error,
    retryAt: state === 'retrying' ? job.retryAt : null,
    secondsLeft: state === 'running' ? job.secondsLeft : null,
    // A lost job's question can still be read.
    question: state === 'asking' || state === 'lost' ? job.question : null,
    cancelling: job.cancelling && !hasEnded(job),
  };
  return (Object.keys(settled) as (keyof Job)[]).every((name) => settled[name] === job[name]) ? job : settled;
}

/** Remove the jobs whose ends are the oldest, where there are too many; `next` has just changed. */
function trim(jobs: Jobs, next: Job): Jobs {
  const at = (job: Job): number => (job === next ? Infinity : (job.updatedAt ?? 0));
  const ended = jobs.filter(hasEnded).sort((one, other) => at(other) - at(one));
  const active = new Set(jobs.filter((job) => !hasEnded(job)).map(({ id }) => id));
  // Places that are left for ended jobs, and for ended parts of active jobs.
  const places = [MAX_ENDED, MAX_PARTS];
  const oldest = ended.filter(({ parent }) => places[+active.has(parent!)]!-- <= 0);
  return oldest[0] ? jobs.filter((job) => !oldest.includes(job)) : jobs;
}
