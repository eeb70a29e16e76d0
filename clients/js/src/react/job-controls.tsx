'use client';
/** Controls of one job: Cancel, answers to its question, and its result. */

import { useId, useInsertionEffect, useRef, useState, type FormEvent, type ReactElement, type ReactNode, type RefObject } from 'react';
import type { JobQuestion } from '../payloads.js';
import type { Job } from './jobs.js';
import type { JobRequest, JobView } from './job-view.js';

/** Longest answer in a text field: in UTF-8 and with its quotes it has less than 8 KiB, the limit of the server. */
const MAX_ANSWER = 2_000;

interface ControlsProps {
  readonly row: RefObject<HTMLElement | null>;
  readonly className: string;
  readonly labelledBy?: string;
  readonly children: ReactNode;
}

/** Group that gives the focus to its row when it disappears, so that a keyboard user stays there. */
export function Controls({ row, className, labelledBy, children }: ControlsProps): ReactElement {
  const element = useRef<HTMLDivElement>(null);
  // Its cleanup runs before React removes the element, and it exists on a server without a warning of React 18.
  useInsertionEffect(
    () => () => {
      if (element.current?.contains(document.activeElement)) row.current?.focus();
    },
    [row],
  );
  return (
    <div className={className} ref={element} role={labelledBy && 'group'} aria-labelledby={labelledBy}>
      {children}
    </div>
  );
}

interface ButtonProps {
  readonly label: string;
  /** Id of the job's title, which completes the name of the button. */
  readonly title?: string;
  /** True if a click has no effect. The button is not `disabled`, which would take the focus from it. */
  readonly isOff?: boolean;
  readonly onClick?: () => void;
}

export function Button({ label, title, isOff = false, onClick }: ButtonProps): ReactElement {
  const id = useId();
  return (
    <button
      type={onClick ? 'button' : 'submit'}
      className="rb-button"
      id={id}
      aria-labelledby={title && `${id} ${title}`}
      aria-disabled={isOff}
      onClick={isOff ? undefined : onClick}
    >
      {label}
    </button>
  );
}

interface AnswersProps {
  readonly question: JobQuestion;
  readonly job: Job;
  readonly request: JobRequest;
  readonly view: JobView;
  /** Id of the question's text. */
  readonly labelledBy: string;
}

/** A button for each choice, or a text field. */
export function Answers({ question, job, request, view, labelledBy }: AnswersProps): ReactElement {
  const answer = (value: string): void => request.send(() => view.control.answer(job.id, question.id, value));
  if (question.choices === null) return <AnswerField isOff={request.isSent} labelledBy={labelledBy} texts={view.texts} onAnswer={answer} />;
  return (
    <>
      {[...new Set(question.choices)].map((choice) => (
        <Button key={choice} label={choice} isOff={request.isSent} onClick={() => answer(choice)} />
      ))}
    </>
  );
}

interface AnswerFieldProps extends Pick<AnswersProps, 'labelledBy'>, Pick<JobView, 'texts'> {
  readonly isOff: boolean;
  readonly onAnswer: (value: string) => void;
}

function AnswerField({ isOff, labelledBy, texts, onAnswer }: AnswerFieldProps): ReactElement {
  const [text, setText] = useState('');
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (text && !isOff) onAnswer(text);
  };
  return (
    <form className="rb-answer" onSubmit={submit}>
      <input
        className="rb-field"
        type="text"
        autoComplete="off"
        aria-labelledby={labelledBy}
        maxLength={MAX_ANSWER}
        readOnly={isOff}
        value={text}
        onChange={({ target }) => setText(target.value)}
      />
      <Button label={texts.answer} isOff={isOff || !text} />
    </form>
  );
}
