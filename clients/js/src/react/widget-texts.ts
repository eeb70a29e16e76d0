/** Texts of the widget; a page may replace each of them, for instance for another language. */

import { formatLeft } from './format.js';
import type { JobState } from './job-fields.js';

export interface WidgetTexts {
  /** Title of the widget. */
  readonly title: string;
  readonly states: Readonly<Record<JobState, string>>;
  readonly loading: string;
  readonly noJobs: string;
  readonly noJobsHint: string;
  /** Shown in place of the jobs while there is no connection, as for a user who is not signed in. */
  readonly notConnected: string;
  readonly waiting: string;
  /** Text before the time of the next attempt. */
  readonly nextAttempt: string;
  readonly left: (seconds: number) => string;
  readonly bytes: (done: string, total: string) => string;
  readonly showAll: (count: number) => string;
  readonly showFewer: string;
  readonly denied: (reason: string) => string;
  readonly outdated: (moment: string) => string;
  /** Text after the title of a job that ended. */
  readonly ended: (state: JobState) => string;
  readonly dismiss: (notice: string) => string;
}

export const TEXTS: WidgetTexts = {
  title: 'Jobs',
  states: {
    queued: 'Queued',
    running: 'Running',
    asking: 'Needs an answer',
    retrying: 'Retrying',
    lost: 'No contact',
    completed: 'Completed',
    failed: 'Failed',
    cancelled: 'Cancelled',
  },
  loading: 'Loading jobs …',
  noJobs: 'No jobs yet',
  noJobsHint: 'A job appears here as soon as it is queued.',
  notConnected: 'Jobs cannot be shown without a connection.',
  waiting: 'Waiting for a worker',
  nextAttempt: 'Next attempt at',
  left: formatLeft,
  bytes: (done, total) => `${done} of ${total}`,
  showAll: (count) => `Show all ${count}`,
  showFewer: 'Show fewer',
  denied: (reason) => `These jobs cannot be shown: ${reason}`,
  outdated: (moment) => `As of ${moment}. What came after is not shown yet.`,
  ended: (state) => (state === 'failed' ? 'failed' : 'is complete'),
  dismiss: (notice) => `Dismiss: ${notice}`,
};
