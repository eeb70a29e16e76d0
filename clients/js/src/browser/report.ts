/** Reports of errors that the application's own code threw. */

/** Report an error where the page's error tracking sees it. */
export function report(error: unknown): void {
  if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
  else console.error(error);
}

/** Call an application's function; report its error instead of throwing it. */
export function guarded<Value>(call: () => Value): Value | undefined {
  try {
    return call();
  } catch (error) {
    report(error);
    return undefined;
  }
}
