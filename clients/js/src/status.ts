/** What people are shown of a connection: never greener than it is. Twin of status.py. */

import type { Machine } from './machine.js';
import type { StatusKind } from './types.js';

/** How long nothing is said while a first connection is made, or a channel is behind. */
export const PATIENCE_MS = 1_500;

/** Without any sign of the server for so long, it is red. */
export const OFFLINE_MS = 30_000;

/** So many intervals may pass without a good poll while it is still called polling. */
export const POLLS = 3;

export const TROUBLE = 'the server says that its log or its backend is down';

/** The words; where one is empty, a page goes on showing what it showed. */
export const LABELS: Readonly<Record<StatusKind, string>> = {
  starting: '',
  connecting: 'Connecting',
  realtime: 'Real-time',
  polling: 'Polling',
  offline: 'Offline',
  error: 'Error',
  paused: 'Paused',
};

/** A word for people, and why. */
export interface Status {
  readonly kind: StatusKind;
  readonly label: string;
  readonly reason: string | null;
}

/** What to show at `now`. */
export function status(machine: Machine, now: number): Status {
  const { mode, reason } = machine;
  if (machine.pushed && machine.behind === null) return say('realtime');
  if (mode === 'DENIED') return say('error', reason);
  if (mode === 'STOPPED' || mode === 'IDLE' || mode === 'PAUSED') return say('paused', reason);
  return say(trying(machine, now), machine.degraded ? TROUBLE : reason);
}

/** Choose the word for a client that is neither all right nor at rest. */
function trying(machine: Machine, now: number): StatusKind {
  const { behind, lastOk } = machine;
  if (machine.pushed && behind !== null) return patiently(now - behind);
  const patience = POLLS * machine.cadence.usual;
  if (machine.polling && lastOk !== null && now - lastOk < patience) return 'polling';
  const quiet = now - Math.max(machine.started, lastOk ?? 0);
  return quiet >= OFFLINE_MS ? 'offline' : patiently(quiet);
}

function patiently(milliseconds: number): StatusKind {
  return milliseconds < PATIENCE_MS ? 'starting' : 'connecting';
}

function say(kind: StatusKind, reason: string | null = null): Status {
  return { kind, label: LABELS[kind], reason };
}
