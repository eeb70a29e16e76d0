'use client';
/** List of jobs, and the row of one job: title, state, progress, controls, and its parts. */

import { memo, useId, useRef, useState, type ReactElement } from 'react';
import { formatMinute } from './format.js';
import { Icon } from './icons.js';
import { Answers, Button, Controls } from './job-controls.js';
import { JobLog } from './job-log.js';
import { Facts, ProgressBar } from './job-progress.js';
import { NO_PARTS, withMean, type JobNode } from './job-tree.js';
import { useDelayed, useJobRequest, type JobView } from './job-view.js';
import { foremost, hasEnded } from './jobs.js';

/** Time after which a row shows that the worker has not followed a request to cancel, in milliseconds. */
const NO_ANSWER_MS = 15_000;

interface JobListProps {
  readonly nodes: readonly JobNode[];
  readonly limit: number;
  readonly view: JobView;
}

export function JobList({ nodes, limit, view }: JobListProps): ReactElement {
  const [all, setAll] = useState(false);
  const visible = new Set(foremost(nodes.map(({ job }) => job), all ? Infinity : limit));
  return (
    <>
      <ul className="rb-jobs">
        {nodes.map(({ job, parts }) => visible.has(job) && <JobRow key={job.id} job={job} parts={parts} limit={limit} view={view} />)}
      </ul>
      {nodes.length > limit && (
        <button type="button" className="rb-button rb-more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? view.texts.showFewer : view.texts.showAll(nodes.length)}
        </button>
      )}
    </>
  );
}

interface JobRowProps extends JobNode {
  readonly limit: number;
  readonly view: JobView;
}

/** Row of one job; it renders only when this job or one of its parts changes. */
const JobRow = memo(function JobRow({ job, parts, limit, view }: JobRowProps): ReactElement {
  const { texts, control, onResult } = view;
  const [title, question] = [useId(), useId()];
  const row = useRef<HTMLLIElement>(null);
  const cancel = useJobRequest(job.attempt ?? '');
  const answer = useJobRequest(job.question && `${job.attempt} ${job.question.id}`);
  const isCancelling = !hasEnded(job) && (job.cancelling || cancel.isSent);
  const refusals = [cancel.refusal && texts.refused('cancel', cancel.refusal, job), answer.refusal && texts.refused('answer', answer.refusal, job)];
  const shown = withMean(job, parts);
  return (
    <li className="rb-job" data-state={job.state} data-job={job.id} ref={row} tabIndex={-1}>
      <div className="rb-job-head">
        <span className="rb-job-title" id={title} title={job.title}>
          {job.title}
        </span>
        <span className="rb-job-state">
          <Icon of={job.state} />
          {texts.states[job.state]}
        </span>
        {(job.cancellable || isCancelling) && !hasEnded(job) && (
          <Controls className="rb-job-cancel" row={row}>
            <Button
              label={isCancelling ? texts.cancelling : texts.cancel}
              title={title}
              isOff={isCancelling}
              onClick={() => cancel.send(() => control.cancel(job.id))}
            />
          </Controls>
        )}
      </div>
      <ProgressBar job={shown} view={view} labelledBy={title} />
      <Facts job={shown} view={view} />
      {job.error && <ErrorText text={job.error} />}
      <News job={job} question={question} isCancelling={isCancelling} refusals={refusals} view={view} />
      {job.state === 'asking' && job.question && (
        <Controls className="rb-answers" row={row} labelledBy={question}>
          <Answers key={job.question.id} question={job.question} job={job} request={answer} view={view} labelledBy={question} />
        </Controls>
      )}
      {job.state === 'completed' && job.result !== null && onResult && (
        <div className="rb-answers">
          <Button label={texts.showResult} title={title} onClick={() => onResult(job.result, job)} />
        </div>
      )}
      {view.logs && <JobLog job={job.id} view={view} labelledBy={title} />}
      {parts.length > 0 && (
        <div className="rb-parts">
          <JobList nodes={parts.map((part) => ({ job: part, parts: NO_PARTS }))} limit={limit} view={view} />
        </div>
      )}
    </li>
  );
}, isSameRow);

interface NewsProps extends Pick<JobRowProps, 'job' | 'view'> {
  /** Id of the question's text. */
  readonly question: string;
  readonly isCancelling: boolean;
  readonly refusals: readonly (string | null)[];
}

/** Live region of a row. It exists from the start: screen readers announce additions to a known region only. */
function News({ job, question, isCancelling, refusals, view: { texts } }: NewsProps): ReactElement {
  const isLate = useDelayed(isCancelling, NO_ANSWER_MS);
  return (
    <div className="rb-job-news" aria-live="polite">
      {isCancelling && <p className={isLate ? undefined : 'rb-hidden'}>{isLate ? texts.noAnswerYet : texts.cancelling}</p>}
      {job.state === 'lost' && <p className="rb-job-lost">{texts.lost(job.updatedAt === null ? null : formatMinute(job.updatedAt))}</p>}
      {job.question && (
        <p className="rb-question" id={question}>
          {job.question.text}
        </p>
      )}
      {refusals.map((text, index) => text && <ErrorText key={index} text={text} />)}
    </div>
  );
}

function ErrorText({ text }: { readonly text: string }): ReactElement {
  return (
    <p className="rb-job-error">
      <Icon of="failed" />
      <span>{text}</span>
    </p>
  );
}

/** Return whether a row shows the same: the list of its parts is a new one after every event. */
function isSameRow(before: JobRowProps, after: JobRowProps): boolean {
  const isSameList = before.parts.length === after.parts.length && before.parts.every((part, index) => part === after.parts[index]);
  return isSameList && before.job === after.job && before.view === after.view && before.limit === after.limit;
}
