/** Events of a page and of its network; outside browsers there are none. */

/** `resumed`: the page returned from the browser's cache; `focused`: its window got the focus. */
export type PageEvent = 'visible' | 'focused' | 'hidden' | 'online' | 'offline' | 'resumed';

export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

/** Report page events, and return a function that ends the reports. */
export function watchPage(handle: (event: PageEvent) => void): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const released = new AbortController();
  const options = { signal: released.signal };
  const handleVisibility = () => handle(isHidden() ? 'hidden' : 'visible');
  document.addEventListener('visibilitychange', handleVisibility, options);
  window.addEventListener('focus', () => handle('focused'), options);
  window.addEventListener('online', () => handle('online'), options);
  window.addEventListener('offline', () => handle('offline'), options);
  window.addEventListener('pageshow', ({ persisted }) => persisted && handle('resumed'), options);
  return () => released.abort();
}
