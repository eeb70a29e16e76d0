/** Jobs with their parts, one level deep; all functions are pure. */

import { hasEnded, type Job, type Jobs } from './jobs.js';

/** Job at the top of the list, with the jobs that name it as their parent. */
export interface JobNode {
  readonly job: Job;
  readonly parts: Jobs;
}

export const NO_PARTS: Jobs = [];

/**
 * Return the jobs in their order, each with its parts. A part of a part, and a job whose parent is not in the list, are at the top.
 * So are jobs that name each other: the fields come from a worker.
 */
export function nest(jobs: Jobs): readonly JobNode[] {
  const byId = new Map(jobs.map((job) => [job.id, job]));
  const parentOf = ({ parent }: Job): Job | undefined => (parent === null ? undefined : byId.get(parent));
  const parts = new Map<Job, Job[]>();
  const isPart = (job: Job): boolean => {
    const parent = parentOf(job);
    return parent !== undefined && parentOf(parent) === undefined;
  };
  const [inner, top] = [jobs.filter(isPart), jobs.filter((job) => !isPart(job))];
  for (const job of inner) {
    const parent = parentOf(job)!;
    parts.set(parent, [...(parts.get(parent) ?? []), job]);
  }
  return top.map((job) => ({ job, parts: parts.get(job) ?? NO_PARTS }));
}

/** Return the job with the mean progress of its parts, if it reports none of its own; a part that ended counts as done. */
export function withMean(job: Job, parts: Jobs): Job {
  if (job.percent !== null || parts.length === 0 || hasEnded(job)) return job;
  const sum = parts.reduce((total, part) => total + (hasEnded(part) ? 100 : (part.percent ?? 0)), 0);
  return { ...job, percent: sum / parts.length };
}
