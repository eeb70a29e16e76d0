'use client';
/** Widget of a user's jobs and their progress. */

import { useId, useMemo, useState, type ReactElement } from 'react';
import type { ChannelState, ClientState } from '../types.js';
import { userChannel } from '../user-channel.js';
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
  /** User whose jobs are shown: events `job.…` of the channel `userChannel(userId)`. */
  readonly userId: string | number;
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
  readonly title?: string;
  /** Number of jobs shown before a click on `Show all`; 8 by default. */
  readonly limit?: number;
  /** True if the head contains the connection badge; true by default. */
  readonly badge?: boolean;
  /** True if development builds show the debug panel; true by default. Production builds (`NODE_ENV`) never do. */
  readonly debug?: boolean;
  /** Further class names of the outer element. */
  readonly className?: string;
}

/**
 * Jobs with progress, stage, error and time of the next attempt, and notices of jobs that complete or fail.
 *
 * Needs `realtime-bridge/react/styles.css` on the page.
 */
export function ProcessingWidget(props: ProcessingWidgetProps): ReactElement {
  return <JobsOfUser key={props.userId} {...props} />;
}

function JobsOfUser(props: ProcessingWidgetProps): ReactElement {
  const { userId, endpoint, title = 'Jobs', limit = 8, badge = true, debug = true, className } = props;
  const channel = userChannel(userId);
  const store = useMemo(() => new JobStore(), []);
  const channelState = useChannel(channel, store.handle, { endpoint, onSnapshot: store.load });
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
      <Outdated connection={connection} channel={channelState} />
      <JobList jobs={jobs} limit={limit} complete={loaded || channelState.phase === 'current'} denied={channelState.error !== null} />
      {debug && <DebugPanel state={connection} channel={channel} channelState={channelState} />}
      <Notices notices={notices} onDismiss={store.dismiss} />
    </section>
  );
}

const SUMMARISED: readonly JobState[] = ['running', 'retrying', 'queued', 'failed'];

function summary(jobs: Jobs): string {
  return SUMMARISED.map((state) => [jobs.filter((job) => job.state === state).length, state] as const)
    .filter(([count]) => count > 0)
    .map((count) => count.join(' '))
    .join(' · ');
}

/** Warning that the jobs may be out of date, or that the server denies them. */
function Outdated({ connection, channel }: { readonly connection: ClientState; readonly channel: ChannelState }): ReactElement | null {
  const isDisconnected = connection.kind === 'offline' || connection.kind === 'error';
  if (channel.error) return <p className="rb-outdated">{`These jobs cannot be shown: ${channel.error}`}</p>;
  if (!isDisconnected || connection.lastSync === null) return null;
  return <p className="rb-outdated">{`As of ${formatMoment(connection.lastSync)}. What came after is not shown yet.`}</p>;
}

interface JobListProps {
  readonly jobs: Jobs;
  readonly limit: number;
  readonly complete: boolean;
  readonly denied: boolean;
}

function JobList({ jobs, limit, complete, denied }: JobListProps): ReactElement | null {
  const [all, setAll] = useState(false);
  if (jobs.length === 0) return denied ? null : <Empty complete={complete} />;
  const visible = all ? jobs : foremost(jobs, limit);
  return (
    <>
      <ul className="rb-jobs">
        {visible.map((job) => (
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

function Empty({ complete }: { readonly complete: boolean }): ReactElement {
  return (
    <div className="rb-empty">
      <p className="rb-empty-title">{complete ? 'No jobs yet' : 'Loading jobs …'}</p>
      {complete && <p>A job appears here as soon as it is queued.</p>}
    </div>
  );
}
