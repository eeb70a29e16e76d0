/** A user's jobs as a widget shows them, and what it has to tell of those that have just ended. */

import { Store } from '../browser/store.js';
import type { RealtimeEvent, Snapshot } from '../types.js';
import { justEnded, loadJobs, reduceJobs, type Job, type Jobs } from './jobs.js';

export interface JobsState {
  readonly jobs: Jobs;
  /** Jobs that completed or failed while people watched, the newest last, until they are dismissed. */
  readonly notices: Jobs;
  /** Whether it is known which jobs there are. */
  readonly loaded: boolean;
}

export const NO_JOBS: JobsState = { jobs: [], notices: [], loaded: false };

/** Older ones make room for newer ones. */
const NOTICES_KEPT = 20;

export class JobStore extends Store<JobsState> {
  constructor() {
    super(NO_JOBS);
  }

  /** Take one event. */
  readonly take = (event: RealtimeEvent): void => {
    this._show(reduceJobs(this.get().jobs, event), { strangers: true });
  };

  /** Take a snapshot: what ended while nobody could tell is told now, what is old is not. */
  readonly load = ({ events }: Snapshot): void => {
    this._show(loadJobs(this.get().jobs, events), { strangers: false });
    this.merge({ loaded: true });
  };

  readonly dismiss = (notice: Job): void => {
    this.merge({ notices: this.get().notices.filter((other) => other !== notice) });
  };

  private _show(jobs: Jobs, options: { readonly strangers: boolean }): void {
    const { jobs: before, notices } = this.get();
    if (jobs === before) return;
    const news = justEnded(before, jobs, options).filter(isNews);
    const older = notices.filter((notice) => !news.some(({ id }) => id === notice.id));
    this.merge({ jobs, notices: news.length > 0 ? [...older, ...news].slice(-NOTICES_KEPT) : notices });
  }
}

/** Who cancelled a job knows that it is cancelled. */
function isNews({ state }: Job): boolean {
  return state !== 'cancelled';
}
