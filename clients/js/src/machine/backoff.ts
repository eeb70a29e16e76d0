/** When to try again: pure arithmetic, no clock and no dice of its own. */

/** No attempt follows another sooner than this, in seconds. */
export const FLOOR = 0.25;

/** The longest wait before jitter, in seconds. */
export const CAP = 20;

/**
 * The seconds to wait before the attempt after `attempt` failures (0, 1, 2 …), with full jitter
 * after the cap; `draw` is a random number in [0, 1), `base` the upper bound of the first wait.
 */
export function delay(attempt: number, draw: number, { base = 3, cap = CAP } = {}): number {
  const bound = Math.min(cap, base * 2 ** Math.min(attempt, 63));
  return Math.max(FLOOR, draw * bound);
}
