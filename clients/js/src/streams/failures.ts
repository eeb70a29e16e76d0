/** Failures of a stream, for readers that end with it. */

import type { StreamState } from '../types.js';

/** Return whether a stream is over without an answer: its program failed, or is silent. */
export function isFailure({ state }: StreamState<unknown>): boolean {
  return state === 'failed' || state === 'lost';
}

/** Return the text of a failure, as protocol/streams/answer.py has it. */
export function failureText({ state, error }: StreamState<unknown>): string {
  if (state === 'lost') return 'The program that writes this answer is silent: load it again later';
  return error ?? 'The answer failed';
}
