/** Jobs of one user for a widget, with notices of those that have just ended. */

import { Store } from '../browser/store.js';
import type { RealtimeEvent, Snapshot } from '../types.js';
import { justEnded, loadJobs, reduceJobs, type Job, type Jobs } from './jobs.js';

export interface JobsState {
  readonly jobs: Jobs;
  /** Jobs that completed or failed since the page opened and were not dismissed, the newest last. */
  readonly notices: Jobs;
  /** True if the list of jobs is complete. */
  readonly loaded: boolean;
}

export const NO_JOBS: JobsState = { jobs: [], notices: [], loaded: false };

/** Limit of notices; a newer one replaces the oldest. */
const MAX_NOTICES = 20;

export class JobStore extends Store<JobsState> {
  constructor() {
    super(NO_JOBS);
  }

  /** Handle an event. */
  readonly handle = (event: RealtimeEvent): void => {
    this._show(reduceJobs(this.get().jobs, event), { unknown: true });
  };

  /** Load a snapshot: a known job that ended meanwhile leads to a notice, an unknown one does not. */
  readonly load = ({ events }: Snapshot): void => {
    this._show(loadJobs(this.get().jobs, events), { unknown: false });
    this.merge({ loaded: true });
  };

  readonly dismiss = (notice: Job): void => {
    this.merge({ notices: this.get().notices.filter((other) => other !== notice) });
  };

  private _show(jobs: Jobs, options: { readonly unknown: boolean }): void {
    const { jobs: before, notices } = this.get();
    if (jobs === before) return;
    const added = justEnded(before, jobs, options).filter((job) => needsNotice(job, jobs));
    const older = notices.filter((notice) => !added.some(({ id }) => id === notice.id));
    this.merge({ jobs, notices: added.length > 0 ? [...older, ...added].slice(-MAX_NOTICES) : notices });
  }
}

/** Return whether a job's end deserves a notice: a user who cancelled a job knows it, and a part is one step of its job. */
function needsNotice({ state, parent }: Job, jobs: Jobs): boolean {
  return state === 'failed' || (state === 'completed' && !jobs.some(({ id }) => id === parent));
}
