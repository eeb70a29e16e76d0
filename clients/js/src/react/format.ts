/** Numbers and moments as people read them. */

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** `bytes` as `3.2 MB`. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** Never 100 before it is. */
export function formatPercent(percent: number): string {
  return `${percent < 100 ? Math.min(99, Math.floor(percent)) : 100} %`;
}

/** `seconds` as `about 2 min left`. */
export function formatLeft(seconds: number): string {
  if (seconds < 60) return `about ${Math.max(1, Math.round(seconds))} s left`;
  if (seconds < 3600) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}

/** A moment in Unix milliseconds as the reader's clock shows it, with the day where it is another one. */
export function formatMoment(at: number, now: number = Date.now()): string {
  const day = (moment: number): string => new Date(moment).toDateString();
  const date = new Date(at);
  return day(at) === day(now)
    ? date.toLocaleTimeString()
    : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
