/** Options and commands of the hybrid client's state machine; durations are in milliseconds. Twin of commands.py. */

/** Choices of the application; the names are those of `ClientOptions`. */
export interface MachineOptions {
  pollingInterval: number;
  fallbackDelay: number;
  reconnectInterval: number;
  maxReconnectAttempts: number;
  /** True if the client opens transports that push. */
  push: boolean;
}

export const DEFAULTS: MachineOptions = {
  pollingInterval: 5_000,
  fallbackDelay: 15_000,
  reconnectInterval: 3_000,
  maxReconnectAttempts: 5,
  push: true,
};

/** Part of a descriptor that the machine uses. */
export interface Terms {
  readonly mode: 'realtime' | 'polling';
  /** Interval of the server's heartbeats. */
  readonly heartbeat: number;
  /** Age at which a socket gets a successor; null: no limit. */
  readonly maxAge: number | null;
  /** Version of the deployment's settings; a higher one means another backend or address. */
  readonly generation: number;
  /** Lifetime of the descriptor and its token. */
  readonly expires: number;
}

/**
 * Action of a client runner.
 *
 * `describe`: request a descriptor; `renew`: the same, with fresh credentials. `open`: open a
 * transport; `probe`: send `connect` on it, then subscribe; `token`: send the token of the last
 * descriptor; `ping`; `close`. `poll`: request events from the log, with a socket only those of the
 * channels that it does not push; `abandon`: abort that request, and report no result of it.
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

/** Action and its socket; sockets are numbered in the order in which they are opened. */
export interface Command {
  readonly do: Action;
  readonly socket: number | null;
  readonly code: number | null;
}
