/** What people are shown of a connection: never greener than it is. Twin of status.py. */

import type { Machine } from './machine.js';
import type { StatusKind } from '../types.js';

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
  if (machine.pushed && behind !== null) return patiently(machine, now - behind);
  const patience = POLLS * machine.cadence.usual;
  if (machine.polling && lastOk !== null && now - lastOk < patience) return 'polling';
  const quiet = now - Math.max(machine.started, lastOk ?? 0);
  return quiet >= machine.timing.offlineAfter ? 'offline' : patiently(machine, quiet);
}

function patiently({ timing }: Machine, milliseconds: number): StatusKind {
  return milliseconds < timing.startingPeriod ? 'starting' : 'connecting';
}

function say(kind: StatusKind, reason: string | null = null): Status {
  return { kind, label: LABELS[kind], reason };
}
