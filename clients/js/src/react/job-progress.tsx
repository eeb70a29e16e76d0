'use client';
/** Progress of one job: bar, stage, message and measures. */

import type { ReactElement } from 'react';
import { formatBytes, formatMoment, formatPercent } from './format.js';
import type { Job } from './jobs.js';
import type { JobView } from './job-view.js';

interface ProgressProps {
  readonly job: Job;
  readonly view: JobView;
}

/** Progress bar in SVG: its width is no style, which a content security policy may forbid. */
export function ProgressBar({ job, view: { texts }, labelledBy }: ProgressProps & { readonly labelledBy: string }): ReactElement {
  const percent = job.percent ?? (job.state === 'running' ? null : 0);
  return (
    <div
      className={percent === null ? 'rb-bar rb-bar-unknown' : 'rb-bar'}
      role="progressbar"
      aria-labelledby={labelledBy}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent === null ? undefined : Math.floor(percent)}
      aria-valuetext={joined(texts.states[job.state], percent !== null && formatPercent(percent), job.stage)}
    >
      <svg className="rb-bar-svg" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden>
        <rect className="rb-bar-fill" width={percent ?? 30} height="1" />
      </svg>
    </div>
  );
}

export function Facts({ job, view }: ProgressProps): ReactElement {
  const { stage, retryAt } = job;
  const next = retryAt !== null && (
    <>
      {view.texts.nextAttempt} <time dateTime={new Date(retryAt).toISOString()}>{formatMoment(retryAt)}</time>
    </>
  );
  return (
    <div className="rb-job-facts">
      <span className="rb-job-doing">
        {next && stage && `${stage} · `}
        {next || doing(job, view)}
      </span>
      <span className="rb-job-measures">{measures(job, view)}</span>
    </div>
  );
}

function doing({ state, stage, message, by }: Job, { texts, user }: JobView): string {
  if (state === 'queued') return message ?? texts.waiting;
  return joined(state !== 'completed' && stage, message, state === 'cancelled' && by && texts.cancelledBy(by, by === user));
}

function measures({ state, percent, bytesDone, bytesTotal, secondsLeft, updatedAt }: Job, { texts }: JobView): string {
  const total = bytesTotal !== null && formatBytes(bytesTotal);
  if (state === 'queued') return total || '';
  if (state === 'completed') return joined(total, updatedAt !== null && formatMoment(updatedAt));
  const bytes = bytesDone !== null && total && texts.bytes(formatBytes(bytesDone), total);
  return joined(secondsLeft !== null && texts.left(secondsLeft), bytes, percent !== null && formatPercent(percent));
}

function joined(...parts: readonly (string | null | false)[]): string {
  return parts.filter(Boolean).join(' · ');
}
