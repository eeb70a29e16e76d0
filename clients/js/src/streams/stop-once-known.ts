/** Stop of a stream that may not have begun. */

import type { Stream } from '../types.js';

/** Longest wait for the start, in milliseconds: a queue may be long, and its job may be gone. */
export const START_MS = 600_000;

/** Stop a stream, after a wait for its start: a worker may begin it later. */
export function stopOnceKnown(source: Stream<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    let unsubscribe = (): void => {};
    const timer = setTimeout(() => {
      unsubscribe();
      resolve();
    }, START_MS);
    const update = (): void => {
      if (source.state.get().state === 'unknown') return;
      clearTimeout(timer);
      unsubscribe();
      source.stop().then(resolve, reject);
    };
    unsubscribe = source.state.subscribe(update);
    update();
  });
}
