/** Failures of a stream, for readers that end with it. */

import type { StreamState } from '../types.js';

/** Return whether a stream is no whole answer: its program failed or is silent, or the log dropped items. */
export function isFailure({ state, trimmed }: StreamState<unknown>): boolean {
  return trimmed || state === 'failed' || state === 'lost';
}

/** Return the text of a failure, as protocol/streams/answer.py has it. */
export function failureText({ state, error, trimmed }: StreamState<unknown>): string {
  if (trimmed) return 'Parts of this answer are no longer kept: load it from the application';
  if (state === 'lost') return 'The program that writes this answer is silent: load it again later';
  return error ?? 'The answer failed';
}
