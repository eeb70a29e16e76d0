/** Exponential back-off with full jitter: pure arithmetic, without a clock or random numbers of its own. */

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
export function delay(attempt: number, draw: number, { base = 3, cap = CAP } = {}): number {
  // 2 ** 63 is far beyond any cap; the limit keeps the power finite.
  const bound = Math.min(cap, base * 2 ** Math.min(attempt, 63));
  return Math.max(FLOOR, draw * bound);
}
