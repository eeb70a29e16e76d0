'use client';
/** What has just completed or failed, told once and politely. */

import { useEffect, useRef, useState, type ReactElement } from 'react';
import { Icon } from './icons.js';
import type { Job, Jobs } from './jobs.js';
import { useLatest } from './use-store.js';

const SHOWN = 3;

/** Milliseconds after which good news goes by itself, unless somebody is at it; failures stay. */
const GOOD_NEWS_MS = 8_000;

interface NoticesProps {
  readonly notices: Jobs;
  readonly onDismiss: (notice: Job) => void;
}

/** Always there, also when empty: screen readers announce only what is added to a region they know. */
export function Notices({ notices, onDismiss }: NoticesProps): ReactElement {
  return (
    <div className="rb-notices" role="status" aria-live="polite" aria-atomic="false" aria-relevant="additions">
      {notices.slice(-SHOWN).map((notice) => (
        <Notice key={notice.id} job={notice} onDismiss={onDismiss} />
      ))}
    </div>
  );
}

function Notice({ job, onDismiss }: { readonly job: Job; readonly onDismiss: (job: Job) => void }): ReactElement {
  const element = useRef<HTMLDivElement>(null);
  const [held, setHeld] = useState(false);
  const dismiss = (): void => {
    passFocusOn(element.current);
    onDismiss(job);
  };
  useGoodNewsTimer(held || job.state === 'failed', dismiss);
  const verb = job.state === 'failed' ? 'failed' : 'is complete';
  return (
    <div
      className="rb-notice"
      data-state={job.state}
      ref={element}
      onKeyDown={(event) => event.key === 'Escape' && dismiss()}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(hasFocus(element.current))}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <Icon of={job.state} />
      <div className="rb-notice-text">
        <strong>{job.title}</strong> {verb}.{job.error && <span className="rb-notice-error"> {job.error}</span>}
      </div>
      <button type="button" className="rb-close" aria-label={`Dismiss: ${job.title} ${verb}`} onClick={dismiss}>
        <Icon of="dismiss" />
      </button>
    </div>
  );
}

function useGoodNewsTimer(waits: boolean, dismiss: () => void): void {
  const latest = useLatest(dismiss);
  useEffect(() => {
    if (waits) return undefined;
    const timer = setTimeout(() => latest.current(), GOOD_NEWS_MS);
    return () => clearTimeout(timer);
  }, [waits, latest]);
}

/** Who dismisses by keyboard goes on to the next notice; focus is never taken from anything else. */
function passFocusOn(leaving: HTMLElement | null): void {
  if (!hasFocus(leaving)) return;
  const next = leaving?.nextElementSibling ?? leaving?.previousElementSibling;
  next?.querySelector('button')?.focus();
}

function hasFocus(element: HTMLElement | null): boolean {
  return element?.contains(document.activeElement) ?? false;
}
