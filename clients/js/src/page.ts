/** What a browser says of the page and of its network; elsewhere nothing. */

export interface PageListener {
  visible(): void;
  hidden(): void;
  online(): void;
  offline(): void;
  /** The page came back from the browser's cache. */
  resumed(): void;
}

export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

/** Returns what ends it. */
export function watchPage(listener: PageListener): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const released = new AbortController();
  const options = { signal: released.signal };
  document.addEventListener(
    'visibilitychange',
    () => (isHidden() ? listener.hidden() : listener.visible()),
    options,
  );
  window.addEventListener('online', () => listener.online(), options);
  window.addEventListener('offline', () => listener.offline(), options);
  window.addEventListener('pageshow', ({ persisted }) => persisted && listener.resumed(), options);
  return () => released.abort();
}
