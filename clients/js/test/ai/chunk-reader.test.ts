/** Chunks of the AI SDK from the states of a stream. */

import { expect, it } from 'vitest';
import { ChunkReader } from '../../src/ai/chunk-reader.js';
import { UNKNOWN_STREAM } from '../../src/streams/fold.js';
import { StreamRestartedError } from '../../src/streams/stream-restarted-error.js';
import type { StreamState } from '../../src/types.js';

const OPEN: StreamState<unknown> = { ...UNKNOWN_STREAM, id: 'm1', attempt: 'a1', state: 'open' };

it('text is wrapped in the chunks of one message', () => {
  const reader = new ChunkReader();
  expect(reader.read(UNKNOWN_STREAM)).toEqual([]);
  expect(reader.read({ ...OPEN, items: ['Real-', 'time '] })).toEqual([
    { type: 'start', messageId: 'm1' },
    { type: 'text-start', id: 'text' },
    { type: 'text-delta', id: 'text', delta: 'Real-time ' },
  ]);
  expect(reader.isOver).toBe(false);
  expect(reader.read({ ...OPEN, items: ['Real-', 'time ', 'now'], state: 'completed' })).toEqual([
    { type: 'text-delta', id: 'text', delta: 'now' },
    { type: 'text-end', id: 'text' },
    { type: 'finish' },
  ]);
  expect(reader.isOver).toBe(true);
});

it('chunks of the worker get the id of the stream, and neighbouring deltas are merged', () => {
  const items = [
    { type: 'start' },
    { type: 'text-start', id: 't' },
    { type: 'text-delta', id: 't', delta: 'a' },
    { type: 'text-delta', id: 't', delta: 'b' },
    { type: 'text-delta', id: 'u', delta: 'c' },
    null,
    { type: 'text-delta', id: 'u', delta: 'd', providerMetadata: {} },
  ];
  expect(new ChunkReader().read({ ...OPEN, format: 'ui-message', items, state: 'completed' })).toEqual([
    { type: 'start', messageId: 'm1' },
    { type: 'text-start', id: 't' },
    { type: 'text-delta', id: 't', delta: 'ab' },
    { type: 'text-delta', id: 'u', delta: 'c' },
    { type: 'text-delta', id: 'u', delta: 'd', providerMetadata: {} },
    { type: 'text-end', id: 't' },
    { type: 'finish' },
  ]);
});

it('a stream of chunks without a start gets one', () => {
  const items = [{ type: 'text-start', id: 't' }];
  expect(new ChunkReader().read({ ...OPEN, format: 'ui-message', items })).toEqual([{ type: 'start', messageId: 'm1' }, ...items]);
});

it('a stopped stream ends with an abort, after its open parts', () => {
  const items = [{ type: 'start' }, { type: 'reasoning-start', id: 'r' }, { type: 'text-start', id: 't' }, { type: 'text-end', id: 't' }];
  const reader = new ChunkReader();
  reader.read({ ...OPEN, format: 'ui-message', items });
  expect(reader.read({ ...OPEN, format: 'ui-message', items, state: 'stopped' })).toEqual([{ type: 'reasoning-end', id: 'r' }, { type: 'abort' }]);
  expect(reader.isOver).toBe(true);
});

it.each([
  ['failed', 'No credit', 'No credit'],
  ['lost', null, expect.stringContaining('does not answer')],
] as const)('a %s stream ends with an error', (state, error, errorText) => {
  const reader = new ChunkReader();
  expect(reader.read({ ...OPEN, items: ['a'], state, error }).at(-1)).toEqual({ type: 'error', errorText });
  expect(reader.isOver).toBe(true);
});

it('the worker\'s own last chunk is the last one', () => {
  const items = [{ type: 'start' }, { type: 'finish' }, { type: 'done' }];
  expect(new ChunkReader().read({ ...OPEN, format: 'ui-message', items, state: 'completed' })).toHaveLength(2);
});

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
