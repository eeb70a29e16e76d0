'use client';
/** Widget of a user's jobs and their progress. */

import { useId, useMemo, type ReactElement } from 'react';
import type { ChannelState, ClientState, StatusKind } from '../types.js';
import { currentUserChannel } from '../user-channel.js';
import { ConnectionBadge } from './badge.js';
import { DebugPanel } from './debug-panel.js';
import { formatMoment } from './format.js';
import { JobList } from './job-row.js';
import { JobStore, NO_JOBS } from './job-store.js';
import { nest } from './job-tree.js';
import type { JobView } from './job-view.js';
import type { Job, JobState } from './jobs.js';
import { Notices } from './notices.js';
import { useChannel } from './use-channel.js';
import { useConnectionStatus } from './use-connection-status.js';
import { useJobControl } from './use-job-control.js';
import { useLatest, useStore } from './use-store.js';
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
  /** Function that shows the result of a completed job, called by the button `Show the result`; without it there is none. */
  readonly onResult?: ((result: unknown, job: Job) => void) | undefined;
  /** True if each row can show the log lines of its job, as `job.log` writes them; false by default. */
  readonly logs?: boolean;
  /** True if the head contains the connection badge; true by default. */
  readonly badge?: boolean;
  /** True if development builds show the debug panel; true by default. Production builds (`NODE_ENV`) never do. */
  readonly debug?: boolean;
  /** Further class names of the outer element. */
  readonly className?: string;
}

/**
 * Jobs with progress, stage, error and time of the next attempt, and notices of jobs that complete or fail. People cancel the
 * jobs that are `cancellable`, and answer their questions. The parts of a job are shown inside it.
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
  const nodes = useMemo(() => nest(jobs), [jobs]);
  const view = useJobView(props, channel, texts);
  const connection = useConnectionStatus({ endpoint });
  const heading = useId();
  return (
    <section className={className ? `rb-widget ${className}` : 'rb-widget'} aria-labelledby={heading}>
      <header className="rb-widget-head">
        <Heading className="rb-title" id={heading}>
          {title}
        </Heading>
        <span className="rb-summary">{summary(nodes.map(({ job }) => job), texts)}</span>
        {badge && <ConnectionBadge endpoint={endpoint} />}
      </header>
      <Outdated connection={connection} channel={channelState} texts={texts} />
      {jobs.length > 0 && <JobList nodes={nodes} limit={limit} view={view} />}
      {jobs.length === 0 && channelState.error === null && (
        <Empty texts={emptyText(connection, loaded || channelState.phase === 'current', texts)} />
      )}
      {debug && <DebugPanel state={connection} channel={channel ?? '–'} channelState={channelState} />}
      <Notices notices={notices} onDismiss={store.dismiss} texts={texts} />
    </section>
  );
}

/** Return what all rows share; its identity changes with its values alone, since each new one renders all rows. */
function useJobView({ endpoint, userId, logs = false, onResult }: ProcessingWidgetProps, channel: string | null, texts: WidgetTexts): JobView {
  const control = useJobControl(channel, { endpoint });
  const latest = useLatest(onResult);
  const hasResults = onResult !== undefined;
  return useMemo(() => {
    const show = (result: unknown, job: Job): void => latest.current?.(result, job);
    return { texts, channel, endpoint, user: String(userId), control, logs, onResult: hasResults ? show : undefined };
  }, [texts, channel, endpoint, userId, control, logs, hasResults, latest]);
}

const SUMMARISED: readonly JobState[] = ['asking', 'running', 'lost', 'retrying', 'queued', 'failed'];

function summary(jobs: readonly Job[], { states, asking }: WidgetTexts): string {
  return SUMMARISED.map((state) => [jobs.filter((job) => job.state === state).length, state] as const)
    .filter(([count]) => count > 0)
    .map(([count, state]) => (state === 'asking' ? asking(count) : `${count} ${states[state].toLowerCase()}`))
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

function Empty({ texts: [title, hint] }: { readonly texts: readonly [string, string?] }): ReactElement {
  return (
    <div className="rb-empty">
      <p className="rb-empty-title">{title}</p>
      {hint && <p>{hint}</p>}
    </div>
  );
}
