'use client';
/** Panel with details of the connection, for developers. */

import type { ReactElement } from 'react';
import { isDevelopment } from '../browser/development.js';
import type { ChannelState, ClientState, Position, Transition } from '../types.js';
import { formatMoment } from './format.js';

const SHOWN_TRANSITIONS = 8;

interface DebugPanelProps {
  readonly state: ClientState;
  readonly channel: string;
  readonly channelState: ChannelState;
}

/** Panel in development builds, nothing in production. */
export function DebugPanel(props: DebugPanelProps): ReactElement | null {
  return isDevelopment() ? <Panel {...props} /> : null;
}

function Panel({ state, channel, channelState }: DebugPanelProps): ReactElement {
  const rows = rowsOf(state, channel, channelState);
  return (
    <details className="rb-debug" open>
      <summary>
        Debug <span className="rb-debug-note">not in production</span>
      </summary>
      <dl className="rb-debug-facts">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd title={value}>{value}</dd>
          </div>
        ))}
      </dl>
      <Transitions transitions={state.transitions} />
    </details>
  );
}

function rowsOf(state: ClientState, channel: string, { phase, position, error }: ChannelState): [string, string][] {
  return [
    ['Source', state.updateSource],
    ['Status', `${state.websocketStatus}${state.transport ? ` (${state.transport})` : ''}`],
    ['Health', [state.kind, state.reason].filter(Boolean).join(': ')],
    ['Mode', `${state.mode}, generation ${state.generation}`],
    ['User', state.user ?? '–'],
    ['Session', state.client || '–'],
    ['Channel', `${channel}: ${error ?? phase}`],
    ['Position', position ? asText(position) : '–'],
    ['Last sync', state.lastSync === null ? 'never' : formatMoment(state.lastSync)],
    ['Failures', String(state.attempts)],
  ];
}

function asText({ epoch, offset }: Position): string {
  return `${epoch}:${offset}`;
}

function Transitions({ transitions }: { readonly transitions: readonly Transition[] }): ReactElement {
  const latest = transitions.slice(-SHOWN_TRANSITIONS).reverse();
  return (
    <>
      <p className="rb-debug-title">Last transitions</p>
      <ol className="rb-debug-transitions">
        {latest.map((transition, index) => (
          <li key={transitions.length - index}>
            <time dateTime={new Date(transition.at).toISOString()}>{formatMoment(transition.at)}</time>
            <span>
              {transition.from} → {transition.to}
            </span>
            <span className="rb-debug-reason">{transition.reason}</span>
          </li>
        ))}
      </ol>
    </>
  );
}
