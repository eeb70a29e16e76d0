/** Formats of numbers and times for users. */

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

const HALF_A_DAY_MS = 43_200_000;

/** Format `bytes` as `3.2 MB`. */
export function formatBytes(bytes: number, unit = 0): string {
  if (bytes >= 1000 && unit < UNITS.length - 1) return formatBytes(bytes / 1000, unit + 1);
  return `${bytes.toFixed(unit && bytes < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Format a percentage, rounded down: 100 % appears only at the end. */
export function formatPercent(percent: number): string {
  return `${Math.floor(percent)} %`;
}

/** Format `seconds` as `about 2 min left`. */
export function formatLeft(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  return `about ${minutes > 0 ? `${minutes} min` : `${Math.ceil(seconds)} s`} left`;
}

/** Format a Unix time in milliseconds without seconds, with the date unless it is less than 12 hours away. */
export function formatMinute(at: number): string {
  const date = Math.abs(at - Date.now()) < HALF_A_DAY_MS ? {} : ({ dateStyle: 'medium' } as const);
  return new Date(at).toLocaleString([], { ...date, timeStyle: 'short' });
}

/** Format a Unix time in milliseconds in the local time zone, with the date unless it is less than 12 hours away. */
export function formatMoment(at: number): string {
  const date = new Date(at);
  return Math.abs(at - Date.now()) < HALF_A_DAY_MS ? date.toLocaleTimeString() : date.toLocaleString();
}
