/** Formats of numbers for people. */

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export function count(value) {
  return value.toLocaleString("en");
}

export function bytes(value) {
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export function percent(value) {
  return `${value < 100 ? value.toFixed(1) : 100} %`;
}
