'use client';
/** Icons as inline SVG: a page needs no further file, and no exception in its content security policy. */

import type { ReactElement } from 'react';
import type { StatusKind } from '../types.js';
import type { JobState } from './job-fields.js';

const DOTS = 'M3 8h0M8 8h0M13 8h0';
const CYCLE = 'M13 6A5 5 0 0 0 3 5M3 10a5 5 0 0 0 10 1M3 2v3h3M13 14v-3h-3';
const BAN = 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M4 4l8 8';
const WARNING = 'M8 2 15 14H1zM8 6v4M8 12h0';

/** Paths of the icons; others show three dots. */
const PATHS: Partial<Record<StatusKind | JobState | 'dismiss', string>> = {
  realtime: 'M9 2 3 9h4l-1 5 6-7H8z',
  polling: CYCLE,
  delayed: CYCLE,
  paused: 'M6 4v8M10 4v8',
  offline: BAN,
  error: WARNING,
  running: 'M5 3l8 5-8 5z',
  asking: 'M5.5 6a2.5 2.5 0 1 1 3.6 2.2C8.3 8.7 8 9.2 8 10M8 13h0',
  lost: 'M2 7a9 9 0 0 1 12 0M4.7 10a5 5 0 0 1 6.6 0M8 13h0M3 14 13 2',
  retrying: CYCLE,
  completed: 'M3 8l4 4 6-8',
  failed: WARNING,
  cancelled: BAN,
  dismiss: 'M4 4l8 8M12 4l-8 8',
};

/** Icon, hidden from screen readers: the text beside it has the same meaning. */
export function Icon({ of }: { readonly of: keyof typeof PATHS }): ReactElement {
  return (
    <svg className={`rb-icon rb-icon-${of}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden>
      <path d={PATHS[of] ?? DOTS} />
    </svg>
  );
}
