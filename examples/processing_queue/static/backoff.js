/** When to try again: full jitter after the cap, so that many clients do not come back together. */

const FLOOR = 250;
const BASE = 3_000;
const CAP = 20_000;

export function delay(failures) {
  return Math.max(FLOOR, Math.random() * Math.min(CAP, BASE * 2 ** failures));
}
