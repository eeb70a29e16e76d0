/** Values that all rows of a widget share, and requests of one row. */

import { useEffect, useState } from 'react';
import type { Job } from './jobs.js';
import type { JobControl } from './use-job-control.js';
import type { JobRefusal, WidgetTexts } from './widget-texts.js';

export interface JobView {
  readonly texts: WidgetTexts;
  readonly channel: string | null;
  readonly endpoint: string | undefined;
  /** User of the widget, for "by you". */
  readonly user: string;
  readonly control: JobControl;
  /** True if each row can show the log lines of its job. */
  readonly logs: boolean;
  readonly onResult: ((result: unknown, job: Job) => void) | undefined;
}

/** Request that a click sent, and its refusal. */
export interface JobRequest {
  /** True from the click until the refusal, or until the job's events show another run or question. */
  readonly isSent: boolean;
  readonly refusal: JobRefusal | null;
  readonly send: (run: () => Promise<void>) => void;
}

/** Return the request about `subject`: a run or a question of a job. Null has none, and keeps the refusal of the last. */
export function useJobRequest(subject: string | null): JobRequest {
  const [last, setLast] = useState<{ readonly subject: string; readonly refusal: JobRefusal | null } | null>(null);
  const request = last && (subject === null || last.subject === subject) ? last : null;
  const send = async (run: () => Promise<void>): Promise<void> => {
    if (subject === null || request?.refusal === null) return;
    setLast({ subject, refusal: null });
    try {
      await run();
    } catch (error) {
      setLast({ subject, refusal: refusalOf(error) });
    }
  };
  return { isSent: request?.refusal === null, refusal: request?.refusal ?? null, send: (run) => void send(run) };
}

/** Return whether `active` has been true for `ms` milliseconds. */
export function useDelayed(active: boolean, ms: number): boolean {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!active) return undefined;
    const timer = setTimeout(() => setLate(true), ms);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [active, ms]);
  return isLate;
}

function refusalOf(error: unknown): JobRefusal {
  const { status = null, code = null, message = '' } = (error ?? {}) as Partial<JobRefusal>;
  return { status, code, message };
}
