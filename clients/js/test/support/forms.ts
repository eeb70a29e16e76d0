/** Forms of a stream for SDKs, by the vectors of both languages. */

import type { RunAgentInput } from '@ag-ui/client';
import { expect } from 'vitest';
import { EventReader } from '../../src/ag-ui/event-reader.js';
import { ChunkReader } from '../../src/ai/chunk-reader.js';
import { foldStream, UNKNOWN_STREAM } from '../../src/streams/fold.js';
import { StreamRestartedError } from '../../src/streams/stream-restarted-error.js';
import type { StreamState } from '../../src/types.js';
import type { Fields } from './names.js';

const INPUT: RunAgentInput = { threadId: 't1', runId: 'm1', messages: [], tools: [], context: [], state: {}, forwardedProps: {} };

export function replayForm({ form, steps }: Fields): void {
  const reader = form === 'ui-message' ? new ChunkReader() : new EventReader(INPUT);
  let state: StreamState<unknown> = UNKNOWN_STREAM;
  steps.forEach(({ event, gives, restarts }: Fields, index: number) => {
    state = foldStream(state, { ...event, id: `n-${index}` } as Parameters<typeof foldStream>[1]);
    if (restarts) expect(() => reader.read(state)).toThrow(StreamRestartedError);
    else expect(reader.read(state)).toEqual(gives);
    expect(reader.isOver).toBe(event.fold === 'end' || event.fold === 'lapse');
  });
}
