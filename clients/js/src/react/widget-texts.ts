/** Texts of the widget; a page may replace each of them, for instance for another language. */

import { formatLeft } from './format.js';
import type { JobState } from './job-fields.js';
import type { Job } from './jobs.js';

/** Refusal of a request to a job. */
export interface JobRefusal {
  /** HTTP status; null: the server did not answer. */
  readonly status: number | null;
  /** Code of the server, such as `ended`. */
  readonly code: string | null;
  /** The server's own words, in English. */
  readonly message: string;
}

export interface WidgetTexts {
  /** Title of the widget. */
  readonly title: string;
  readonly states: Readonly<Record<JobState, string>>;
  /** Number of jobs that need an answer. */
  readonly asking: (count: number) => string;
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
  readonly cancel: string;
  /** Label of the button from the click to the end of the job. */
  readonly cancelling: string;
  /** Shown 15 seconds after a request to cancel. */
  readonly noAnswerYet: string;
  readonly cancelledBy: (user: string, isOwn: boolean) => string;
  /** Shown for a job whose worker is silent; `moment` is null where it is unknown. */
  readonly lost: (moment: string | null) => string;
  /** Label of the button beside a text field. */
  readonly answer: string;
  readonly refused: (request: 'cancel' | 'answer', refusal: JobRefusal, job: Job) => string;
  readonly showResult: string;
  readonly log: string;
  readonly noLines: string;
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
  asking: (count) => `${count} ${count === 1 ? 'needs' : 'need'} an answer`,
  loading: 'Loading jobs …',
  noJobs: 'No jobs yet',
  noJobsHint: 'A job appears here as soon as it is queued.',
  notConnected: 'Jobs cannot be shown without a connection.',
  waiting: 'Waiting for a worker',
  nextAttempt: 'Next attempt at',
  left: formatLeft,
  bytes: (done, total) => `${done} of ${total}`,
  cancel: 'Cancel',
  cancelling: 'Cancelling …',
  noAnswerYet: 'Its worker has not answered yet.',
  cancelledBy: (user, isOwn) => (isOwn ? 'by you' : `by ${user}`),
  lost: (moment) => `No sign of life${moment ? ` since ${moment}` : ''}. It may come back.`,
  answer: 'Answer',
  refused: refusalText,
  showResult: 'Show the result',
  log: 'Log',
  noLines: 'No lines yet.',
  showAll: (count) => `Show all ${count}`,
  showFewer: 'Show fewer',
  denied: (reason) => `These jobs cannot be shown: ${reason}`,
  outdated: (moment) => `As of ${moment}. What came after is not shown yet.`,
  ended: (state) => (state === 'failed' ? 'failed' : 'is complete'),
  dismiss: (notice) => `Dismiss: ${notice}`,
};

const REFUSALS: Readonly<Record<string, string>> = {
  unknown_job: 'This job is not known any more.',
  not_cancellable: 'This job cannot be cancelled.',
  answered: 'It had already been answered.',
  no_question: 'It does not wait for this answer any more.',
  not_a_choice: 'This is none of the choices.',
};

function refusalText(request: 'cancel' | 'answer', { status, code, message }: JobRefusal, { state }: Job): string {
  if (status === 403) return `You may not ${request} this.`;
  // The event of the end may be later than the refusal.
  if (code === 'ended') return `It had already ${state === 'completed' || state === 'failed' ? state : 'ended'}.`;
  return REFUSALS[code ?? ''] ?? (message || 'The server did not answer: try again.');
}
