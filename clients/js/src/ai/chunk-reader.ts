/** States of a stream as chunks of the AI SDK; twin of protocol/streams/ui_message.py. */

import type { UIMessageChunk } from 'ai';
import { isFields, isText } from '../messages.js';
import { joined } from '../streams/joined.js';
import type { Deltas } from '../streams/joined.js';
import { OpenParts } from '../streams/open-parts.js';
import type { Ends } from '../streams/open-parts.js';
import { failureText, isFailure } from '../streams/failures.js';
import { StreamCursor } from '../streams/stream-cursor.js';
import type { StreamState } from '../types.js';

const DELTAS: Deltas = { 'text-delta': 'id', 'reasoning-delta': 'id' };

const ENDS: Ends = { 'text-start': ['text-end', 'id'], 'reasoning-start': ['reasoning-end', 'id'] };

/** Id of the only part of a stream of texts. */
const TEXT = 'text';

export class ChunkReader {
  /** True after the last chunk. */
  isOver = false;
  private readonly _cursor = new StreamCursor<unknown>();
  private readonly _parts = new OpenParts(ENDS);
  private _hasStarted = false;
  private _hasFinished = false;

  /** Return the chunks that a state adds. Throws an `Error` for a denied channel and for another format. */
  read(state: StreamState<unknown>): UIMessageChunk[] {
    const { id, format, error } = state;
    if (state.state === 'unknown' || id === null) {
      if (error !== null) throw new Error(error);
      return [];
    }
    if (format !== 'text' && format !== 'ui-message') {
      throw new Error(`Stream ${id} has the format ${format}: a chat reads text and ui-message`);
    }
    const items = state.trimmed ? [] : this._cursor.read(state);
    const chunks = this._named(id, format === 'text' ? this._texts(items) : items.filter(isChunk));
    this._parts.add(chunks);
    this._hasFinished ||= chunks.some(({ type }) => type === 'finish');
    return [...joined(chunks, DELTAS), ...this._ending(state, id)];
  }

  private _texts(items: readonly unknown[]): UIMessageChunk[] {
    const deltas = items.filter(isText).map((delta): UIMessageChunk => ({ type: 'text-delta', id: TEXT, delta }));
    return this._hasStarted ? deltas : [{ type: 'text-start', id: TEXT }, ...deltas];
  }

  /** Name the message after the stream: a replay then replaces it. */
  private _named(messageId: string, chunks: UIMessageChunk[]): UIMessageChunk[] {
    const lacksStart = !this._hasStarted && chunks.length > 0 && chunks[0]?.type !== 'start';
    this._hasStarted ||= chunks.length > 0;
    const whole: UIMessageChunk[] = lacksStart ? [{ type: 'start' }, ...chunks] : chunks;
    return whole.map((chunk) => (chunk.type === 'start' ? { ...chunk, messageId } : chunk));
  }

  private _ending(state: StreamState<unknown>, id: string): UIMessageChunk[] {
    if (state.state === 'open' && !state.trimmed) return [];
    this.isOver = true;
    if (isFailure(state)) return this._named(id, [{ type: 'error', errorText: failureText(state) }]);
    if (this._hasFinished) return [];
    const last: UIMessageChunk = { type: state.state === 'stopped' ? 'abort' : 'finish' };
    return this._named(id, [...(this._parts.close() as UIMessageChunk[]), last]);
  }
}

/** pydantic-ai's `done` stands for the last line of a response. */
function isChunk(item: unknown): item is UIMessageChunk {
  return isFields(item) && isText(item.type) && item.type !== 'done';
}
