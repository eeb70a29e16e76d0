/** Back-off with full jitter, and spread intervals: pure arithmetic, without a clock or random numbers of its own. */

/** Shortest wait between two attempts, in seconds. */
export const FLOOR = 0.25;

/** Longest wait before jitter, in seconds. */
export const CAP = 20;

/**
 * Return the seconds to wait after `attempt` failures (0, 1, 2 …).
 *
 * `draw` is a random number in [0, 1). `base` is the upper bound of the first wait, in seconds. The
 * jitter covers the capped wait: a cap after the jitter would make many clients wait equally long.
 */
export function delay(attempt: number, draw: number, { base = 3, floor = FLOOR, cap = CAP } = {}): number {
  // 2 ** 63 is far beyond any cap; the limit keeps the power finite.
  const bound = Math.min(cap, base * 2 ** Math.min(attempt, 63));
  return Math.max(floor, draw * bound);
}

/** Return the milliseconds to wait after `attempt` failures; `base` is the upper bound of the first wait. */
export function backoff(attempt: number, draw: number, base: number): number {
  return delay(attempt, draw, { base: base / 1_000 }) * 1_000;
}

/** Vary an interval by 20 % in both directions, so that clients do not act together. */
export function spread(interval: number, draw: number): number {
  return interval * (0.8 + 0.4 * draw);
}
