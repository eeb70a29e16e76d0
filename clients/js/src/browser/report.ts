/** What an application's own code threw, said where errors are seen, without stopping us. */

export function report(error: unknown): void {
  if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
  else console.error(error);
}

/** Call an application's function; what it throws is reported, and stops nothing. */
export function guarded<Value>(call: () => Value): Value | undefined {
  try {
    return call();
  } catch (error) {
    report(error);
    return undefined;
  }
}
