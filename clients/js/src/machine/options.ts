/** Check of an application's intervals and limits, once and in one place. Twin of options.py; both replay `options.json`. */

/** Choices of an application; intervals are in milliseconds, `Infinity` is never. */
export interface Intervals {
  pollingInterval: number;
  fallbackDelay: number;
  reconnectInterval: number;
  maxReconnectAttempts: number;
  heartbeatInterval: number;
}

/** Default, smallest and largest value, and the values that mean never. */
type Rule = readonly [otherwise: number, least: number, most: number, never: readonly unknown[]];

const HOUR = 3_600_000;

const RULES: Readonly<Record<keyof Intervals, Rule>> = {
  pollingInterval: [5_000, 250, HOUR, []],
  fallbackDelay: [15_000, 250, HOUR, []],
  reconnectInterval: [3_000, 250, HOUR, []],
  maxReconnectAttempts: [5, 0, HOUR, [false, Infinity]],
  heartbeatInterval: [30_000, 250, HOUR, [0, false, Infinity]],
};

/** Return valid intervals, and a sentence for each value that was replaced. */
export function checkIntervals(given: { readonly [Name in keyof Intervals]?: unknown }): [Intervals, string[]] {
  const problems: string[] = [];
  const entries = Object.entries(RULES).map(([name, rule]) => {
    const value = given[name as keyof Intervals] ?? rule[0];
    const valid = validOf(value, rule);
    if (valid !== value && valid !== Infinity) problems.push(`${name} is ${String(value)}: ${valid} is used`);
    return [name, valid];
  });
  return [Object.fromEntries(entries) as Intervals, problems];
}

function validOf(value: unknown, [otherwise, least, most, never]: Rule): number {
  if (never.includes(value)) return Infinity;
  if (value === false) return least;
  if (typeof value !== 'number' || Number.isNaN(value)) return otherwise;
  return Math.round(Math.min(most, Math.max(least, value)));
}
