/** Debug lines for developers, switched on by the npm `debug` convention: `localStorage.debug = 'realtime:*'`. */

export type Log = (format: string, ...values: unknown[]) => void;

/** Return the log of `realtime:<name>`; it reads the setting at each line, so that no reload is needed. */
export function debug(name: string): Log {
  const namespace = `realtime:${name}`;
  return (format, ...values) => {
    if (isEnabled(namespace, setting())) console.debug(`${namespace} ${format}`, ...values);
  };
}

/** Return whether `a,b*,-c` enables a namespace: names or prefixes; a minus excludes. */
export function isEnabled(namespace: string, setting: string): boolean {
  const patterns = setting.split(/[\s,]+/);
  const matches = (pattern: string) =>
    pattern.endsWith('*') ? namespace.startsWith(pattern.slice(0, -1)) : namespace === pattern;
  return patterns.some(matches) && !patterns.some((name) => name[0] === '-' && matches(name.slice(1)));
}

function setting(): string {
  try {
    return globalThis.localStorage?.getItem('debug') ?? '';
  } catch {
    // A page may be forbidden to use storage.
    return '';
  }
}
