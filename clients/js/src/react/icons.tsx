'use client';
/** The icons, drawn here so that no page has to load or to allow anything. */

import type { ReactElement } from 'react';
import type { StatusKind } from '../types.js';
import type { JobState } from './job-fields.js';

const SHAPES = {
  bolt: 'M9.2 1.5 3.4 9h3.9l-.9 5.5L12.6 7H8.5z',
  cycle: 'M13 6.2A5.3 5.3 0 0 0 3.4 5M3 9.8A5.3 5.3 0 0 0 12.6 11M3.2 2.2V5h2.8M12.8 13.8V11H10',
  dots: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  pause: 'M5.8 4v8M10.2 4v8',
  cloudOff: 'M2.5 2.5l11 11M6.3 4.2A4 4 0 0 1 11.9 7a2.8 2.8 0 0 1 1.6 4M10.8 12.5H4.6A2.9 2.9 0 0 1 4.3 6.8',
  warning: 'M8 2.2 14.4 13.3H1.6zM8 6.4v3.2M8 11.5h.01',
  clock: 'M8 1.9a6.1 6.1 0 1 0 0 12.2A6.1 6.1 0 0 0 8 1.9M8 4.8V8l2.2 1.5',
  play: 'M5 3.2 12.6 8 5 12.8z',
  check: 'M3.2 8.6 6.5 12l6.3-7.6',
  cross: 'M4 4l8 8M12 4l-8 8',
  ban: 'M8 1.9a6.1 6.1 0 1 0 0 12.2A6.1 6.1 0 0 0 8 1.9M3.7 3.7l8.6 8.6',
} as const;

type Shape = keyof typeof SHAPES;

const OF_STATUS: Record<StatusKind, Shape> = {
  starting: 'dots',
  connecting: 'dots',
  realtime: 'bolt',
  polling: 'cycle',
  paused: 'pause',
  offline: 'cloudOff',
  error: 'warning',
};

const OF_JOB: Record<JobState, Shape> = {
  queued: 'clock',
  running: 'play',
  retrying: 'cycle',
  completed: 'check',
  failed: 'warning',
  cancelled: 'ban',
};

const FILLED: ReadonlySet<Shape> = new Set(['bolt', 'play']);

/** One icon; the words beside it say the same, so it is hidden from screen readers. */
export function Icon({ shape }: { readonly shape: Shape }): ReactElement {
  return (
    <svg className="rb-icon" data-shape={shape} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path
        d={SHAPES[shape]}
        fill={FILLED.has(shape) ? 'currentColor' : 'none'}
        stroke="currentColor"
        strokeWidth={shape === 'dots' ? 2.4 : 1.6}
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

export function StatusIcon({ kind }: { readonly kind: StatusKind }): ReactElement {
  return <Icon shape={OF_STATUS[kind]} />;
}

export function JobIcon({ state }: { readonly state: JobState }): ReactElement {
  return <Icon shape={OF_JOB[state]} />;
}
