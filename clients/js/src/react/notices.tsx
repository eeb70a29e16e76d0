'use client';
/** Notices of jobs that completed or failed. */

import { useEffect, useRef, useState, type ReactElement } from 'react';
import { Icon } from './icons.js';
import type { Job, Jobs } from './jobs.js';
import type { WidgetTexts } from './widget-texts.js';
import { useLatest } from './use-store.js';

const MAX_SHOWN = 3;

/** Time after which a success notice closes by itself, in milliseconds; failures stay. */
const SUCCESS_MS = 8_000;

interface NoticesProps {
  readonly notices: Jobs;
  readonly onDismiss: (notice: Job) => void;
  readonly texts: WidgetTexts;
}

/** Region of the notices. It exists even when empty: screen readers announce additions to a known region only. */
export function Notices({ notices, onDismiss, texts }: NoticesProps): ReactElement {
  return (
    <div className="rb-notices" role="status" aria-live="polite" aria-atomic="false" aria-relevant="additions">
      {notices.slice(-MAX_SHOWN).map((notice) => (
        <Notice key={notice.id} job={notice} onDismiss={onDismiss} texts={texts} />
      ))}
    </div>
  );
}

function Notice({ job, onDismiss, texts }: Omit<NoticesProps, 'notices'> & { readonly job: Job }): ReactElement {
  const element = useRef<HTMLDivElement>(null);
  const [paused, setPaused] = useState(false);
  const dismiss = (): void => {
    moveFocus(element.current);
    onDismiss(job);
  };
  useSuccessTimer(paused || job.state === 'failed', dismiss);
  const verb = texts.ended(job.state);
  return (
    <div
      className="rb-notice"
      data-state={job.state}
      ref={element}
      onKeyDown={(event) => event.key === 'Escape' && dismiss()}
      onPointerEnter={() => setPaused(true)}
      onPointerLeave={() => setPaused(hasFocus(element.current))}
      onFocus={() => setPaused(true)}
      onBlur={() => setPaused(false)}
    >
      <Icon of={job.state} />
      <div className="rb-notice-text">
        <strong>{job.title}</strong> {verb}.{job.error && <span className="rb-notice-error"> {job.error}</span>}
      </div>
      <button type="button" className="rb-close" aria-label={texts.dismiss(`${job.title} ${verb}`)} onClick={dismiss}>
        <Icon of="dismiss" />
      </button>
    </div>
  );
}

function useSuccessTimer(waits: boolean, dismiss: () => void): void {
  const latest = useLatest(dismiss);
  useEffect(() => {
    if (waits) return undefined;
    const timer = setTimeout(() => latest.current(), SUCCESS_MS);
    return () => clearTimeout(timer);
  }, [waits, latest]);
}

/** Move the focus of a dismissed notice to the next one, for keyboard users. */
function moveFocus(leaving: HTMLElement | null): void {
  if (!hasFocus(leaving)) return;
  const next = leaving?.nextElementSibling ?? leaving?.previousElementSibling;
  next?.querySelector('button')?.focus();
}

function hasFocus(element: HTMLElement | null): boolean {
  return element?.contains(document.activeElement) ?? false;
}
