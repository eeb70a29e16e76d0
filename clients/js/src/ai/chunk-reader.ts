/** States of a stream as chunks of the AI SDK; twin of protocol/streams/ui_message.py. */

import type { UIMessageChunk } from 'ai';
import { isFields, isText } from '../messages.js';
import { OpenParts } from '../streams/open-parts.js';
import type { Ends } from '../streams/open-parts.js';
import { LOST, StreamCursor } from '../streams/stream-cursor.js';
import type { StreamState } from '../types.js';

type Delta = UIMessageChunk & { type: 'text-delta' | 'reasoning-delta' };

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
    const items = this._cursor.read(state);
    const chunks = this._named(id, format === 'text' ? this._texts(items) : items.filter(isChunk));
    this._parts.add(chunks);
    this._hasFinished ||= chunks.some(({ type }) => type === 'finish');
    return [...merged(chunks), ...this._ending(state)];
  }

  private _texts(items: readonly unknown[]): UIMessageChunk[] {
    const deltas = items.filter(isText).map((delta): UIMessageChunk => ({ type: 'text-delta', id: TEXT, delta }));
    return this._hasStarted ? deltas : [{ type: 'text-start', id: TEXT }, ...deltas];
  }

  /** Name the message after the stream: a replay then replaces it. */
  private _named(messageId: string, chunks: UIMessageChunk[]): UIMessageChunk[] {
    const hasStart = this._hasStarted || chunks[0]?.type === 'start';
    this._hasStarted = true;
    const whole: UIMessageChunk[] = hasStart ? chunks : [{ type: 'start' }, ...chunks];
    return whole.map((chunk) => (chunk.type === 'start' ? { ...chunk, messageId } : chunk));
  }

  private _ending({ state, error }: StreamState<unknown>): UIMessageChunk[] {
    if (state === 'open') return [];
    this.isOver = true;
    if (state === 'failed' || state === 'lost') return [{ type: 'error', errorText: error ?? LOST }];
    if (this._hasFinished) return [];
    return [...(this._parts.close() as UIMessageChunk[]), { type: state === 'stopped' ? 'abort' : 'finish' }];
  }
}

/** Merge neighbouring deltas of one part: each chunk costs a copy of the message. */
function merged(chunks: readonly UIMessageChunk[]): UIMessageChunk[] {
  const result: UIMessageChunk[] = [];
  for (const chunk of chunks) {
    const last = result.at(-1);
    if (last && isDelta(last) && isDelta(chunk) && last.type === chunk.type && last.id === chunk.id) {
      result[result.length - 1] = { ...last, delta: last.delta + chunk.delta };
    } else {
      result.push(chunk);
    }
  }
  return result;
}

function isDelta(chunk: UIMessageChunk): chunk is Delta {
  return (chunk.type === 'text-delta' || chunk.type === 'reasoning-delta') && !chunk.providerMetadata;
}

/** pydantic-ai's `done` stands for the last line of a response. */
function isChunk(item: unknown): item is UIMessageChunk {
  return isFields(item) && isText(item.type) && item.type !== 'done';
}
