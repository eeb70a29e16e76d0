/** Lines for developers, switched on by the npm `debug` convention: `localStorage.debug = 'realtime:*'`. */

export type Log = (format: string, ...values: unknown[]) => void;

/** What `realtime:<name>` has to say; read at each line, so that it needs no reload. */
export function debug(name: string): Log {
  const namespace = `realtime:${name}`;
  return (format, ...values) => {
    if (isEnabled(namespace, wanted())) console.debug(`${namespace} ${format}`, ...values);
  };
}

/** `a,b*,-c`: names, or what they begin with; those with a minus are left out. */
export function isEnabled(namespace: string, wanted: string): boolean {
  const patterns = wanted.split(/[\s,]+/);
  const matches = (pattern: string) =>
    pattern.endsWith('*') ? namespace.startsWith(pattern.slice(0, -1)) : namespace === pattern;
  return patterns.some(matches) && !patterns.some((name) => name[0] === '-' && matches(name.slice(1)));
}

function wanted(): string {
  try {
    return globalThis.localStorage?.getItem('debug') ?? '';
  } catch {
    return ''; // Storage is forbidden to this page.
  }
}
