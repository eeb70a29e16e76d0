/** What a browser says of the page and of its network; elsewhere nothing. */

/** `resumed`: the page came back from the browser's cache. */
export type PageNews = 'visible' | 'hidden' | 'online' | 'offline' | 'resumed';

export function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

/** Returns what ends it. */
export function watchPage(tell: (news: PageNews) => void): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const released = new AbortController();
  const options = { signal: released.signal };
  const seen = () => tell(isHidden() ? 'hidden' : 'visible');
  document.addEventListener('visibilitychange', seen, options);
  window.addEventListener('online', () => tell('online'), options);
  window.addEventListener('offline', () => tell('offline'), options);
  window.addEventListener('pageshow', ({ persisted }) => persisted && tell('resumed'), options);
  return () => released.abort();
}
