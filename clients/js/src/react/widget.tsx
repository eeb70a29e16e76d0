'use client';
/** `ProcessingWidget`: a user's jobs and how far they are. */

import { useId, useMemo, useState, type ReactElement } from 'react';
import type { ChannelState, ClientState } from '../types.js';
import { ConnectionBadge } from './badge.js';
import { DebugPanel } from './debug-panel.js';
import { formatMoment } from './format.js';
import { JobRow } from './job-row.js';
import { JobStore, NO_JOBS } from './job-store.js';
import { foremost, type Jobs, type JobState } from './jobs.js';
import { Notices } from './notices.js';
import { useChannel } from './use-channel.js';
import { useConnectionStatus } from './use-connection-status.js';
import { useStore } from './use-store.js';

export interface ProcessingWidgetProps {
  /** Whose jobs: the events `job.…` of the channel `user-{userId}`. */
  readonly userId: string | number;
  /** Where the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
  readonly title?: string;
  /** How many jobs are shown before the rest is asked for; 8 by default. */
  readonly limit?: number;
  /** Whether the connection's badge is shown in its head, as it is by default. */
  readonly badge?: boolean;
  /** Whether developers see the connection’s inside; in builds for production (`NODE_ENV`) nobody does. */
  readonly debug?: boolean;
  /** Further class names of the outer element. */
  readonly className?: string;
}

/**
 * Shows each job with its progress, stage, error and time of retry, and tells when one completes or fails.
 *
 * Wants `realtime-bridge/react/styles.css` on the page.
 */
export function ProcessingWidget(props: ProcessingWidgetProps): ReactElement {
  return <JobsOfUser key={props.userId} {...props} />;
}

function JobsOfUser(props: ProcessingWidgetProps): ReactElement {
  const { userId, endpoint, title = 'Jobs', limit = 8, badge = true, debug = true, className } = props;
  const channel = `user-${userId}`;
  const store = useMemo(() => new JobStore(), []);
  const channelState = useChannel(channel, store.take, { endpoint, onSnapshot: store.load });
  const { jobs, notices, loaded } = useStore(store, NO_JOBS);
  const connection = useConnectionStatus({ endpoint });
  const heading = useId();
  return (
    <section className={className ? `rb-widget ${className}` : 'rb-widget'} aria-labelledby={heading}>
      <header className="rb-widget-head">
        <h2 className="rb-title" id={heading}>
          {title}
        </h2>
        <span className="rb-summary">{summary(jobs)}</span>
        {badge && <ConnectionBadge endpoint={endpoint} />}
      </header>
      <Doubt connection={connection} channel={channelState} />
      <JobList jobs={jobs} limit={limit} known={loaded || channelState.phase === 'current'} refused={channelState.error !== null} />
      {debug && <DebugPanel state={connection} channel={channel} channelState={channelState} />}
      <Notices notices={notices} onDismiss={store.dismiss} />
    </section>
  );
}

const SUMMARISED: readonly JobState[] = ['running', 'retrying', 'queued', 'failed'];

function summary(jobs: Jobs): string {
  return SUMMARISED.map((state) => [jobs.filter((job) => job.state === state).length, state] as const)
    .filter(([count]) => count > 0)
    .map((counted) => counted.join(' '))
    .join(' · ');
}

/** Says when what is shown may not be so any more. */
function Doubt({ connection, channel }: { readonly connection: ClientState; readonly channel: ChannelState }): ReactElement | null {
  const isCut = connection.kind === 'offline' || connection.kind === 'error';
  if (channel.error) return <p className="rb-doubt">{`These jobs cannot be shown: ${channel.error}`}</p>;
  if (!isCut || connection.lastSync === null) return null;
  return <p className="rb-doubt">{`As of ${formatMoment(connection.lastSync)}. What came after is not shown yet.`}</p>;
}

interface JobListProps {
  readonly jobs: Jobs;
  readonly limit: number;
  readonly known: boolean;
  readonly refused: boolean;
}

function JobList({ jobs, limit, known, refused }: JobListProps): ReactElement | null {
  const [all, setAll] = useState(false);
  if (jobs.length === 0) return refused ? null : <Empty known={known} />;
  const shown = all ? jobs : foremost(jobs, limit);
  return (
    <>
      <ul className="rb-jobs">
        {shown.map((job) => (
          <JobRow key={job.id} job={job} />
        ))}
      </ul>
      {jobs.length > limit && (
        <button type="button" className="rb-button rb-more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? 'Show fewer' : `Show all ${jobs.length}`}
        </button>
      )}
    </>
  );
}

function Empty({ known }: { readonly known: boolean }): ReactElement {
  return (
    <div className="rb-empty">
      <p className="rb-empty-title">{known ? 'No jobs yet' : 'Loading jobs …'}</p>
      {known && <p>A job appears here as soon as it is queued.</p>}
    </div>
  );
}
