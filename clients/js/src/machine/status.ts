/** Connection status for users: never better than the connection. Twin of status.py. */

import type { StatusKind } from '../types.js';
import type { Machine } from './machine.js';

/** Number of intervals without a successful poll after which the status is no longer `polling`. */
const MISSED_POLLS = 3;

const BEHIND = 'missing data is being read';
const UNPUSHED = 'channels are polled: this connection does not carry them';

/** Text of each kind; where it is empty, a page keeps the text before. */
export const LABELS: Readonly<Record<StatusKind, string>> = {
  starting: '',
  connecting: 'Connecting',
  realtime: 'Real-time',
  polling: 'Polling',
  delayed: 'Delayed',
  offline: 'Offline',
  error: 'Error',
  paused: 'Paused',
};

/** Status text and its reason. */
export interface ConnectionStatus {
  readonly kind: StatusKind;
  readonly label: string;
  readonly reason: string | null;
}

/** Return the status of a machine at `now`. */
export function connectionStatus(machine: Machine, now: number): ConnectionStatus {
  const { mode, reason } = machine;
  if (machine.complete) return statusOf('realtime');
  if (mode === 'DENIED') return statusOf('error', reason);
  if (mode === 'STOPPED' || mode === 'IDLE' || mode === 'PAUSED') return statusOf('paused', reason);
  const late = machine.unpushed ? `${machine.unpushed} ${UNPUSHED}` : BEHIND;
  return statusOf(activeKind(machine, now), machine.pushed ? late : (machine.trouble ?? reason));
}

/** Return the kind for a client that is neither at rest nor fully synchronized by push. */
function activeKind(machine: Machine, now: number): StatusKind {
  const { behind, lastOk, timing } = machine;
  if (machine.pushed && behind !== null && now - behind < timing.lateAfter) {
    return patientKind(machine, now - behind);
  }
  const limit = MISSED_POLLS * machine.pollSchedule.usual;
  if (machine.polling && lastOk !== null && now - lastOk < limit) return 'polling';
  if (machine.mode === 'LIVE') return 'delayed';
  const quiet = now - Math.max(machine.started, lastOk ?? 0);
  return quiet >= timing.offlineAfter ? 'offline' : patientKind(machine, quiet);
}

/** Return `starting` for a short while: most connections are ready before a text could be read. */
function patientKind({ timing }: Machine, elapsed: number): StatusKind {
  return elapsed < timing.startingPeriod ? 'starting' : 'connecting';
}

function statusOf(kind: StatusKind, reason: string | null = null): ConnectionStatus {
  return { kind, label: LABELS[kind], reason };
}
