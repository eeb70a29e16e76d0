/** Numbers as the Python twin has them. */

/** Round half to even, so that both sides give the same milliseconds. */
export function round(value: number): number {
  const whole = Math.floor(value);
  if (value - whole !== 0.5) return Math.round(value);
  return whole % 2 === 0 ? whole : whole + 1;
}
