'use client';
/** Log lines of one job, read while they are shown. */

import { useState, type ReactElement } from 'react';
import type { JobView } from './job-view.js';
import { useStream } from './use-stream.js';

/** Characters of the last lines that are shown; the stream has up to 1 MiB. */
const MAX_SHOWN = 65_536;

interface JobLogProps {
  readonly job: string;
  readonly view: JobView;
  /** Id of the job's title. */
  readonly labelledBy: string;
}

export function JobLog({ job, view, labelledBy }: JobLogProps): ReactElement {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="rb-log" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{view.texts.log}</summary>
      {isOpen && <Lines job={job} view={view} labelledBy={labelledBy} />}
    </details>
  );
}

function Lines({ job, view, labelledBy }: JobLogProps): ReactElement {
  const { text, error } = useStream(view.channel, `log-${job}`, { endpoint: view.endpoint });
  return (
    // It can be focused, as a keyboard scrolls what has the focus.
    <div className="rb-log-lines" role="region" aria-labelledby={labelledBy} tabIndex={0}>
      <pre>{text.slice(-MAX_SHOWN) || error || view.texts.noLines}</pre>
    </div>
  );
}
