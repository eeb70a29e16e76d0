'use client';
/** Widget of a user's jobs and their progress. */

import { useId, useMemo, useState, type ReactElement } from 'react';
import type { ChannelState, ClientState, StatusKind } from '../types.js';
import { currentUserChannel } from '../user-channel.js';
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
import { TEXTS, type WidgetTexts } from './widget-texts.js';

export interface ProcessingWidgetProps {
  /** User whose jobs are shown: events `job.…` of the channel `userChannel(userId)`. */
  readonly userId: string | number | null | undefined;
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
  readonly title?: string;
  /** Level of the heading, 1 to 6; 2 by default. */
  readonly headingLevel?: 1 | 2 | 3 | 4 | 5 | 6;
  /** Texts that replace the English ones. Keep the object between renders: each new one renders all rows. */
  readonly texts?: Partial<WidgetTexts>;
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
  const { userId, endpoint, headingLevel = 2, limit = 8, badge = true, debug = true, className } = props;
  const channel = currentUserChannel(userId);
  const texts = useMemo(() => ({ ...TEXTS, ...props.texts }), [props.texts]);
  const { title = texts.title } = props;
  const Heading = `h${headingLevel}` as const;
  const store = useMemo(() => new JobStore(), []);
  const channelState = useChannel(channel, store.handle, { endpoint, onSnapshot: store.load });
  const { jobs, notices, loaded } = useStore(store, NO_JOBS);
  const connection = useConnectionStatus({ endpoint });
  const heading = useId();
  return (
    <section className={className ? `rb-widget ${className}` : 'rb-widget'} aria-labelledby={heading}>
      <header className="rb-widget-head">
        <Heading className="rb-title" id={heading}>
          {title}
        </Heading>
        <span className="rb-summary">{summary(jobs, texts)}</span>
        {badge && <ConnectionBadge endpoint={endpoint} />}
      </header>
      <Outdated connection={connection} channel={channelState} texts={texts} />
      {channelState.error !== null && jobs.length === 0 ? null : (
        <JobList jobs={jobs} limit={limit} empty={emptyText(connection, loaded || channelState.phase === 'current', texts)} texts={texts} />
      )}
      {debug && <DebugPanel state={connection} channel={channel ?? '–'} channelState={channelState} />}
      <Notices notices={notices} onDismiss={store.dismiss} texts={texts} />
    </section>
  );
}

const SUMMARISED: readonly JobState[] = ['running', 'retrying', 'queued', 'failed'];

function summary(jobs: Jobs, { states }: WidgetTexts): string {
  return SUMMARISED.map((state) => [jobs.filter((job) => job.state === state).length, states[state]] as const)
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${state.toLowerCase()}`)
    .join(' · ');
}

/** Return the texts of an empty list: without a connection, it is unknown whether there are jobs. */
function emptyText({ kind }: ClientState, isComplete: boolean, texts: WidgetTexts): readonly [string, string?] {
  if (isComplete) return [texts.noJobs, texts.noJobsHint];
  return [DISCONNECTED.includes(kind) ? texts.notConnected : texts.loading];
}

const DISCONNECTED: readonly StatusKind[] = ['offline', 'error', 'paused'];

interface OutdatedProps {
  readonly connection: ClientState;
  readonly channel: ChannelState;
  readonly texts: WidgetTexts;
}

/** Warning that the jobs may be out of date, or that the server denies them. */
function Outdated({ connection, channel, texts }: OutdatedProps): ReactElement | null {
  const isDisconnected = connection.kind === 'offline' || connection.kind === 'error';
  if (channel.error) return <p className="rb-outdated">{texts.denied(channel.error)}</p>;
  if (!isDisconnected || connection.lastSync === null) return null;
  return <p className="rb-outdated">{texts.outdated(formatMoment(connection.lastSync))}</p>;
}

interface JobListProps {
  readonly jobs: Jobs;
  readonly limit: number;
  readonly empty: readonly [string, string?];
  readonly texts: WidgetTexts;
}

function JobList({ jobs, limit, empty, texts }: JobListProps): ReactElement {
  const [all, setAll] = useState(false);
  if (jobs.length === 0) return <Empty texts={empty} />;
  const visible = all ? jobs : foremost(jobs, limit);
  return (
    <>
      <ul className="rb-jobs">
        {visible.map((job) => (
          <JobRow key={job.id} job={job} texts={texts} />
        ))}
      </ul>
      {jobs.length > limit && (
        <button type="button" className="rb-button rb-more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? texts.showFewer : texts.showAll(jobs.length)}
        </button>
      )}
    </>
  );
}

function Empty({ texts: [title, hint] }: { readonly texts: readonly [string, string?] }): ReactElement {
  return (
    <div className="rb-empty">
      <p className="rb-empty-title">{title}</p>
      {hint && <p>{hint}</p>}
    </div>
  );
}
