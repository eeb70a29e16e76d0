/** A user's jobs, as the events tell them: pure. */

import type { RealtimeEvent } from '../types.js';
import { readJob, type JobFields, type JobState } from './job-fields.js';

export type { JobState } from './job-fields.js';

/** One job as people see it. */
export interface Job {
  readonly id: string;
  readonly title: string;
  readonly state: JobState;
  /** 0 to 100; `null` while nobody can say. */
  readonly percent: number | null;
  readonly stage: string | null;
  readonly message: string | null;
  readonly error: string | null;
  /** When the next attempt begins, in Unix milliseconds. */
  readonly retryAt: number | null;
  /** Bytes. */
  readonly bytesDone: number | null;
  /** Bytes. */
  readonly bytesTotal: number | null;
  /** Seconds that are left, as the worker estimates. */
  readonly secondsLeft: number | null;
  /** Unix milliseconds. */
  readonly createdAt: number | null;
  /** Unix milliseconds of the event that told this. */
  readonly updatedAt: number | null;
  readonly version: number | null;
}

/** The newest first. */
export type Jobs = readonly Job[];

/** So many that have ended are remembered; the ones that go on always are. */
export const ENDED_KEPT = 100;

const ENDED: readonly JobState[] = ['completed', 'failed', 'cancelled'];

/** The event of a watched table's row: its table says how it is, after an end too. */
const ROW = /(insert|update)$/;

/** Whether the job is at its end: nothing changes it any more. */
export function hasEnded(job: Job): boolean {
  return ENDED.includes(job.state);
}

/** Returns the jobs after the event; the very same list when it changes none. For `reduce` of `useHybridUpdates`. */
export function reduceJobs(jobs: Jobs | null | undefined, event: RealtimeEvent): Jobs {
  const known = jobs ?? [];
  const fields = readJob(event);
  if (!fields) return known;
  const job = known.find(({ id }) => id === fields.id);
  if (fields.state === 'removed') return job ? known.filter((other) => other !== job) : known;
  if (job && ((hasEnded(job) && !ROW.test(event.event)) || isOlder(fields, job))) return known;
  const next = advance(job, fields, event.time ?? null);
  return trim(job ? known.map((other) => (other === job ? next : other)) : [next, ...known]);
}

/** Returns the jobs that a snapshot tells of, and those known ones which had ended: an end is never taken back. */
export function loadJobs(jobs: Jobs, events: readonly RealtimeEvent[]): Jobs {
  const told = events.reduce(reduceJobs, jobs.filter(hasEnded));
  return [...told].sort((one, other) => (other.createdAt ?? 0) - (one.createdAt ?? 0));
}

/** Returns those that have ended since `before`; of jobs that it did not know, only where `strangers` count. */
export function justEnded(before: Jobs, after: Jobs, { strangers }: { readonly strangers: boolean }): Jobs {
  return after.filter((job) => {
    const known = before.find(({ id }) => id === job.id);
    return hasEnded(job) && (known ? !hasEnded(known) : strangers);
  });
}

/** Returns `limit` of them in their order: those that go on before those that have ended. */
export function foremost(jobs: Jobs, limit: number): Jobs {
  const ranked = [...jobs.filter((job) => !hasEnded(job)), ...jobs.filter(hasEnded)];
  const chosen = new Set(ranked.slice(0, limit));
  return jobs.filter((job) => chosen.has(job));
}

function isOlder(fields: JobFields, job: Job): boolean {
  return typeof fields.version === 'number' && job.version !== null && fields.version < job.version;
}

function advance(known: Job | undefined, fields: JobFields, at: number | null): Job {
  const state = (fields.state ?? known?.state ?? 'queued') as JobState;
  const before: Partial<Job> = known ? begin(known, state) : { createdAt: fields.createdAt ?? at };
  const told = Object.entries(fields).map(([name, value]) => [name, value === undefined ? (before[name as keyof Job] ?? null) : value]);
  return settle({
    ...(Object.fromEntries(told) as Job),
    state,
    title: fields.title ?? before.title ?? `Job ${fields.id}`,
    createdAt: before.createdAt ?? null,
    updatedAt: at ?? before.updatedAt ?? null,
  });
}

/** A new attempt starts from nothing: what the one before it said is no longer so. */
function begin(job: Job, state: JobState): Job {
  if (job.state !== 'retrying' || state !== 'running') return job;
  return { ...job, percent: null, stage: null, message: null, bytesDone: null };
}

/** Drops what contradicts the state. */
function settle(job: Job): Job {
  const { state } = job;
  const isWell = state === 'completed' || state === 'running';
  return {
    ...job,
    percent: state === 'completed' ? 100 : job.percent,
    error: isWell ? null : job.error,
    retryAt: state === 'retrying' ? job.retryAt : null,
    secondsLeft: state === 'running' ? job.secondsLeft : null,
  };
}

function trim(jobs: Jobs): Jobs {
  let ended = 0;
  return jobs.filter((job) => !hasEnded(job) || (ended += 1) <= ENDED_KEPT);
}
