/**
 * Durations of the hybrid client, in milliseconds.
 * Twin of timing.py, except for the fields of a page; both replay `tests/vectors/timing.json`.
 */
export interface Timing {
  // DescriptorStore
  /** Time limit of a request for a descriptor. */
  readonly descriptorTimeout: number;
  /** Longest wait before the next request for a descriptor. */
  readonly descriptorRetryMax: number;
  /** Shortest time until a descriptor is refreshed, whatever its lifetime. */
  readonly descriptorRefreshMin: number;
  /** Time during which a 401 is retried: the session may be renewed meanwhile. */
  readonly denialPatience: number;
  /** Age up to which a stored descriptor serves when the server gives none. */
  readonly descriptorReuse: number;

  // Transports
  /** Time after which polling begins while the first transport still connects. */
  readonly slowConnect: number;
  /** Time limit for opening a transport. */
  readonly openTimeout: number;
  /** Time limit for `welcome` and the answers to all subscriptions. */
  readonly probeTimeout: number;
  /** Time limit for the answer to a ping. */
  readonly pingTimeout: number;
  /** Silence allowed beyond the heartbeat interval. */
  readonly silenceAllowance: number;
  /** Time after which an answer, a heartbeat or a missing event counts as late. */
  readonly lateAfter: number;
  /** Time limit for the answer to a question on a socket. */
  readonly answerTimeout: number;
  /** Wait before a channel is requested again after a temporary refusal; varies by 20 %. */
  readonly subscribeRetry: number;
  /** Wait between channels that are requested again: the server accepts 20 messages a second. */
  readonly subscribePace: number;
  /** Age of the last message up to which an SSE stream answers a ping by itself. */
  readonly sseFreshness: number;

  // Reconnecting
  /** Uptime from which a connection counts as stable. */
  readonly stableUptime: number;
  /** Period in which short connections are counted. */
  readonly shortUptimeWindow: number;
  /** First pause after too many short connections; each later pause is twice as long. */
  readonly banMin: number;
  /** Longest pause after too many short connections. */
  readonly banMax: number;
  /** Pause after the server reported too many connections of this user (4409). */
  readonly connectionLimitBan: number;
  /** Shortest wait of the back-off. */
  readonly backoffMin: number;
  /** Longest wait of the back-off, before jitter. */
  readonly backoffMax: number;
  /** Wait between attempts after too many failures in a row; varies by 20 %. */
  readonly slowReconnect: number;
  /** Random spread of reconnects after a server restart without a drain window. */
  readonly restartSpread: number;
  /** Random spread of reconnects after the network returns. */
  readonly wakeSpread: number;

  // Polling
  /** Random spread of the first poll after a transport is lost. */
  readonly firstPollSpread: number;
  /** Time limit of a poll. */
  readonly pollTimeout: number;
  /** Wait before the next page of a long poll result. */
  readonly nextPageDelay: number;
  /** Interval of polls shortly after an event. */
  readonly busyInterval: number;
  /** Time after an event during which polls use `busyInterval`. */
  readonly busyPeriod: number;
  /** Shortest interval of polls of a hidden page, or without a network. */
  readonly idleInterval: number;
  /** Shortest interval that a server can request. */
  readonly requestedIntervalMin: number;
  /** Longest interval that a server can request. */
  readonly requestedIntervalMax: number;

  // Channels of a page
  /** Time after which a channel without handlers ends: a page may subscribe again at once. */
  readonly leaveDelay: number;
  /** Time during which a channel that ended resumes where its last handlers left. */
  readonly rejoinPeriod: number;
  /** Shortest time between two resets in a row that a handler gets. */
  readonly resetSpacing: number;

  // Page and status
  /** Time after which a hidden page pauses. */
  readonly hiddenPause: number;
  /** Time without an answer during which the status shows no text. */
  readonly startingPeriod: number;
  /** Time without an answer after which the status is offline. */
  readonly offlineAfter: number;
  /** Interval at which the runner updates a status that changes with time. */
  readonly statusInterval: number;
  /** Longest timer of the runner: a computer's sleep is noticed within this time. */
  readonly timerMax: number;
  /** Delay of a timer that shows that the computer slept. */
  readonly clockJump: number;
  /** Smallest change of the last synchronization time that is published. */
  readonly lastSyncStep: number;

  // Hosted providers
  /** Silence of a provider after which it gets a ping. */
  readonly providerSilence: number;
  /** Time limit of a provider's answer to a subscription; under `probeTimeout`. */
  readonly providerAnswer: number;
  /** Time in which an overtaken event can still fill a gap; up to half as much is added at random. */
  readonly reorderAllowance: number;
  /** Wait before the log is read after a subscription: servers keep its answers for 250 ms. */
  readonly fetchAfterSubscribing: number;
  /** Interval of position checks; varies by 6 %. */
  readonly positionCheckInterval: number;
  /** Time that an event may take by the provider after its position was read from the log. */
  readonly lateEventAllowance: number;
  /** Period in which a second missed event means that the provider delivers nothing. */
  readonly missedEventWindow: number;
  /** Time limit of a request to the log beside a provider; under that of an answer. */
  readonly fetchTimeout: number;
  /** Time during which channels are collected into one request to the log. */
  readonly fetchBatchDelay: number;
  /** Time during which channels are collected into one request for a provider's token. */
  readonly tokenBatchDelay: number;
}

export const DEFAULT_TIMING: Timing = {
  // A request that hangs and the wait after it stay under the 18 s of invariant I5.
  descriptorTimeout: 8_000,
  descriptorRetryMax: 10_000,
  descriptorRefreshMin: 1_000,
  denialPatience: 30_000,
  descriptorReuse: 3_600_000,

  slowConnect: 2_500,
  openTimeout: 10_000,
  probeTimeout: 5_000,
  pingTimeout: 3_000,
  silenceAllowance: 5_000,
  lateAfter: 5_000,
  answerTimeout: 10_000,
  subscribeRetry: 5_000,
  subscribePace: 100,
  // One heartbeat (10 s) and the time limit of a ping.
  sseFreshness: 13_000,

  stableUptime: 10_000,
  shortUptimeWindow: 120_000,
  banMin: 60_000,
  banMax: 600_000,
  connectionLimitBan: 600_000,
  backoffMin: 250,
  backoffMax: 20_000,
  // At most 54 s with the variation: invariant I18 allows 60 s.
  slowReconnect: 45_000,
  restartSpread: 5_000,
  wakeSpread: 500,

  firstPollSpread: 1_000,
  pollTimeout: 10_000,
  nextPageDelay: 250,
  busyInterval: 1_000,
  busyPeriod: 10_000,
  idleInterval: 60_000,
  requestedIntervalMin: 250,
  requestedIntervalMax: 600_000,

  leaveDelay: 100,
  rejoinPeriod: 30_000,
  resetSpacing: 5_000,

  hiddenPause: 300_000,
  startingPeriod: 1_500,
  offlineAfter: 30_000,
  statusInterval: 500,
  timerMax: 5_000,
  clockJump: 15_000,
  lastSyncStep: 1_000,

  providerSilence: 10_000,
  providerAnswer: 4_000,
  reorderAllowance: 500,
  fetchAfterSubscribing: 300,
  // With the variation and `reorderAllowance`, a lost event is fetched within 35 s.
  positionCheckInterval: 31_500,
  lateEventAllowance: 2_000,
  missedEventWindow: 300_000,
  fetchTimeout: 8_000,
  fetchBatchDelay: 10,
  tokenBatchDelay: 5,
};
