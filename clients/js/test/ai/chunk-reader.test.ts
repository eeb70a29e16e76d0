/** Chunks of the AI SDK from the states of a stream, beside the vectors of forms. */

import { expect, it } from 'vitest';
import { ChunkReader } from '../../src/ai/chunk-reader.js';
import { UNKNOWN_STREAM } from '../../src/streams/fold.js';
import { StreamRestartedError } from '../../src/streams/stream-restarted-error.js';
import type { StreamState } from '../../src/types.js';

const OPEN: StreamState<unknown> = { ...UNKNOWN_STREAM, id: 'm1', attempt: 'a1', state: 'open' };

it('another attempt is an error where chunks of the first were given', () => {
  const reader = new ChunkReader();
  reader.read(OPEN);
  expect(reader.read({ ...OPEN, attempt: 'a2', items: ['a'] })).toEqual([{ type: 'text-delta', id: 'text', delta: 'a' }]);
  expect(() => reader.read({ ...OPEN, attempt: 'a3' })).toThrow(StreamRestartedError);
});

it('items that a lost log gets again are given once', () => {
  const reader = new ChunkReader();
  reader.read({ ...OPEN, items: ['a', 'b'] });
  expect(reader.read({ ...OPEN, items: [] })).toEqual([]);
  expect(reader.read({ ...OPEN, items: ['a', 'b', 'c'] })).toEqual([{ type: 'text-delta', id: 'text', delta: 'c' }]);
});

it('a denied channel and another format are errors', () => {
  expect(() => new ChunkReader().read({ ...UNKNOWN_STREAM, error: 'Not yours' })).toThrow('Not yours');
  expect(() => new ChunkReader().read({ ...OPEN, format: 'json' })).toThrow('Stream m1 has the format json');
});

it('an answer that misses parts is an error, while it is written and after its end', () => {
  const errorText = 'Parts of this answer are no longer kept: load it from the application';
  for (const state of ['open', 'completed'] as const) {
    const reader = new ChunkReader();
    expect(reader.read({ ...OPEN, state, trimmed: true, items: ['end'] }).at(-1)).toEqual({ type: 'error', errorText });
    expect(reader.isOver).toBe(true);
  }
});
