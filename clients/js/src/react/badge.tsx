'use client';
/** Badge of the connection status: colour, icon and text. */

import type { ReactElement } from 'react';
import type { ClientState } from '../types.js';
import { Icon } from './icons.js';
import { useClient } from './provider.js';
import { statusText, type StatusText } from './status-text.js';
import { useConnectionStatus } from './use-connection-status.js';

export interface ConnectionBadgeProps {
  /** URL at which the bridge is mounted, for a page without `RealtimeProvider`; `/realtime` by default. */
  readonly endpoint?: string | undefined;
  /** Further class names of the outer element. */
  readonly className?: string;
  /** Function that returns the text, for instance in another language; English by default. */
  readonly statusText?: (state: ClientState) => StatusText;
  /** Text of the button that connects again. */
  readonly retryLabel?: string;
}

/**
 * Green Real-time, yellow Polling or Delayed, grey Connecting, red Offline or Error with reason and advice.
 *
 * Needs `realtime-bridge/react/styles.css` on the page.
 */
export function ConnectionBadge(props: ConnectionBadgeProps): ReactElement {
  const { endpoint, className, statusText: textOf = statusText, retryLabel = 'Try again' } = props;
  const client = useClient(endpoint);
  const state = useConnectionStatus({ endpoint });
  const text = textOf(state);
  return (
    <span className={className ? `rb-badge ${className}` : 'rb-badge'} data-kind={state.kind} data-tone={text.tone}>
      <span className="rb-badge-status" role="status" aria-live="polite" aria-atomic="true">
        <span className="rb-pill" title={text.tone === 'bad' ? undefined : text.detail || undefined}>
          <Icon of={text.label ? state.kind : 'starting'} />
          <span className="rb-pill-label">{text.label}</span>
        </span>
        <Explanation text={text} />
      </span>
      {text.retry && (
        <button type="button" className="rb-button" onClick={() => client.retry()}>
          {retryLabel}
        </button>
      )}
    </span>
  );
}

/** Explanation of the status: visible for faults, for screen readers only otherwise. */
function Explanation({ text }: { readonly text: StatusText }): ReactElement | null {
  if (!text.detail) return null;
  if (text.tone !== 'bad') return <span className="rb-hidden">{`. ${text.detail}`}</span>;
  return (
    <span className="rb-reason">
      <span className="rb-hidden">. </span>
      {text.detail} {text.advice && <span className="rb-advice">{text.advice}</span>}
    </span>
  );
}
