'use client';
/** `ConnectionBadge`: whether what the page shows is up to date, in a colour, an icon and words. */

import type { ReactElement } from 'react';
import type { ClientState } from '../types.js';
import { Icon } from './icons.js';
import { useClient } from './provider.js';
import { useConnectionStatus } from './use-connection-status.js';
import { wordsFor, type Words } from './status-text.js';

export interface ConnectionBadgeProps {
  /** Where the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
  /** Further class names of the outer element. */
  readonly className?: string;
  /** Other words, as in another language; by default English ones. */
  readonly words?: (state: ClientState) => Words;
  /** The text of the button that tries again. */
  readonly retryLabel?: string;
}

/**
 * Green Real-time, yellow Polling, grey Connecting, red Offline or Error with its reason and what to do.
 *
 * Wants `realtime-bridge/react/styles.css` on the page.
 */
export function ConnectionBadge(props: ConnectionBadgeProps): ReactElement {
  const { endpoint, className, words: wordsOf = wordsFor, retryLabel = 'Try again' } = props;
  const client = useClient(endpoint);
  const state = useConnectionStatus({ endpoint });
  const words = wordsOf(state);
  return (
    <span className={className ? `rb-badge ${className}` : 'rb-badge'} data-kind={state.kind} data-tone={words.tone}>
      <span className="rb-badge-status" role="status" aria-live="polite" aria-atomic="true">
        <span className="rb-pill" title={words.tone === 'bad' ? undefined : words.detail || undefined}>
          <Icon of={words.label ? state.kind : 'starting'} />
          <span className="rb-pill-label">{words.label}</span>
        </span>
        <Explanation words={words} />
      </span>
      {words.retry && (
        <button type="button" className="rb-button" onClick={() => client.retry()}>
          {retryLabel}
        </button>
      )}
    </span>
  );
}

/** Seen when something is wrong; for screen readers alone otherwise. */
function Explanation({ words }: { readonly words: Words }): ReactElement | null {
  if (!words.detail) return null;
  if (words.tone !== 'bad') return <span className="rb-hidden">{`. ${words.detail}`}</span>;
  return (
    <span className="rb-reason">
      <span className="rb-hidden">. </span>
      {words.detail} {words.advice && <span className="rb-advice">{words.advice}</span>}
    </span>
  );
}
