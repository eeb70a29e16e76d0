'use client';
/** Row of one job: title, state, progress and error. */

import { memo, useId, type ReactElement } from 'react';
import { formatBytes, formatMoment, formatPercent } from './format.js';
import { Icon } from './icons.js';
import type { Job } from './jobs.js';
import type { WidgetTexts } from './widget-texts.js';

interface JobProps {
  readonly job: Job;
  readonly texts: WidgetTexts;
}

/** Row of one job; it renders only when this job changes. */
export const JobRow = memo(function JobRow({ job, texts }: JobProps): ReactElement {
  const title = useId();
  return (
    <li className="rb-job" data-state={job.state} data-job={job.id}>
      <div className="rb-job-head">
        <span className="rb-job-title" id={title} title={job.title}>
          {job.title}
        </span>
        <span className="rb-job-state">
          <Icon of={job.state} />
          {texts.states[job.state]}
        </span>
      </div>
      <ProgressBar job={job} texts={texts} labelledBy={title} />
      <Facts job={job} texts={texts} />
      {job.error && (
        <p className="rb-job-error">
          <Icon of="failed" />
          <span>{job.error}</span>
        </p>
      )}
    </li>
  );
});

/** Progress bar in SVG: its width is no style, which a content security policy may forbid. */
function ProgressBar({ job, texts, labelledBy }: JobProps & { readonly labelledBy: string }): ReactElement {
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

function Facts({ job, texts }: JobProps): ReactElement {
  const { stage, retryAt } = job;
  const next = retryAt !== null && (
    <>
      {texts.nextAttempt} <time dateTime={new Date(retryAt).toISOString()}>{formatMoment(retryAt)}</time>
    </>
  );
  return (
    <div className="rb-job-facts">
      <span className="rb-job-doing">
        {next && stage && `${stage} · `}
        {next || doing(job, texts)}
      </span>
      <span className="rb-job-measures">{measures(job, texts)}</span>
    </div>
  );
}

function doing({ state, stage, message }: Job, { waiting }: WidgetTexts): string {
  if (state === 'queued') return message ?? waiting;
  return joined(state !== 'completed' && stage, message);
}

function measures({ state, percent, bytesDone, bytesTotal, secondsLeft, updatedAt }: Job, texts: WidgetTexts): string {
  const total = bytesTotal !== null && formatBytes(bytesTotal);
  if (state === 'queued') return total || '';
  if (state === 'completed') return joined(total, updatedAt !== null && formatMoment(updatedAt));
  const bytes = bytesDone !== null && total && texts.bytes(formatBytes(bytesDone), total);
  return joined(secondsLeft !== null && texts.left(secondsLeft), bytes, percent !== null && formatPercent(percent));
}

function joined(...parts: readonly (string | null | false)[]): string {
  return parts.filter(Boolean).join(' · ');
}
