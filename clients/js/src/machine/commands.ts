/** The words of the hybrid client's state machine; all durations are in milliseconds. Twin of commands.py. */

/** What the application chose; the names are those of `ClientOptions`. */
export interface MachineOptions {
  pollingInterval: number;
  fallbackDelay: number;
  reconnectInterval: number;
  maxReconnectAttempts: number;
  /** Whether sockets are wanted at all. */
  push: boolean;
}

export const DEFAULTS: MachineOptions = {
  pollingInterval: 5_000,
  fallbackDelay: 15_000,
  reconnectInterval: 3_000,
  maxReconnectAttempts: 5,
  push: true,
};

/** What the machine has to know of a descriptor. */
export interface Terms {
  readonly mode: 'realtime' | 'polling';
  readonly heartbeat: number;
  readonly maxAge: number | null;
  readonly generation: number;
  readonly expires: number;
}

/**
 * What a shell can do.
 *
 * `describe`: ask for a descriptor; `renew`: the same, with fresh credentials. `open`: open a
 * socket; `probe`: say `connect` on it, and subscribe; `token`: hand it the token of the last
 * descriptor; `ping`; `close`. `poll`: ask the log; `abandon`: abort that request, and never report
 * what became of it.
 */
export type Action =
  | 'describe'
  | 'renew'
  | 'open'
  | 'probe'
  | 'token'
  | 'ping'
  | 'close'
  | 'poll'
  | 'abandon';

/** Sockets are numbered in the order they are opened. */
export interface Command {
  readonly do: Action;
  readonly socket: number | null;
  readonly code: number | null;
}
