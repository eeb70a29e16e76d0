/** States of a stream as events of AG-UI; twin of protocol/streams/ag_ui.py. */

import { EventType } from '@ag-ui/client';
import type { BaseEvent, RunAgentInput } from '@ag-ui/client';
import { isFields, isText } from '../messages.js';
import { joined } from '../streams/joined.js';
import type { Deltas } from '../streams/joined.js';
import { OpenParts } from '../streams/open-parts.js';
import type { Ends } from '../streams/open-parts.js';
import { failureText, isFailure } from '../streams/failures.js';
import { StreamCursor } from '../streams/stream-cursor.js';
import type { StreamState } from '../types.js';

/** Event with the fields of its type. */
type Fields = BaseEvent & Record<string, unknown>;

const DELTAS: Deltas = {
  [EventType.TEXT_MESSAGE_CONTENT]: 'messageId',
  [EventType.REASONING_MESSAGE_CONTENT]: 'messageId',
  [EventType.TOOL_CALL_ARGS]: 'toolCallId',
};

const ENDS: Ends = {
  [EventType.TEXT_MESSAGE_START]: [EventType.TEXT_MESSAGE_END, 'messageId'],
  [EventType.TOOL_CALL_START]: [EventType.TOOL_CALL_END, 'toolCallId'],
  [EventType.REASONING_START]: [EventType.REASONING_END, 'messageId'],
  [EventType.REASONING_MESSAGE_START]: [EventType.REASONING_MESSAGE_END, 'messageId'],
  [EventType.STEP_STARTED]: [EventType.STEP_FINISHED, 'stepName'],
};

/** Types after which a run may have no other event. */
const LAST: readonly string[] = [EventType.RUN_FINISHED, EventType.RUN_ERROR];

export class EventReader {
  /** True after the last event. */
  isOver = false;
  private readonly _cursor = new StreamCursor<unknown>();
  private readonly _parts = new OpenParts(ENDS);
  private _run: Record<string, unknown>;
  private _hasStarted = false;
  private _hasFinished = false;

  /** A replay replaces the messages after the user's last one, which the stream answers. */
  constructor(private readonly _input: RunAgentInput, private readonly _mode: 'run' | 'replay' = 'run') {
    this._run = { threadId: _input.threadId, runId: _input.runId };
  }

  /** Return the events that a state adds. Throws an `Error` for a denied channel and for another format. */
  read(state: StreamState<unknown>): BaseEvent[] {
    const { id, format, error } = state;
    if (state.state === 'unknown' || id === null) {
      if (error !== null) throw new Error(error);
      return [];
    }
    if (format !== 'text' && format !== 'ag-ui') {
      throw new Error(`Stream ${id} has the format ${format}: an agent reads text and ag-ui`);
    }
    const items = state.trimmed ? [] : this._cursor.read(state);
    const events = this._opened(format === 'text' ? this._texts(id, items) : joined(items.filter(isEvent), DELTAS));
    this._parts.add(events);
    this._hasFinished ||= events.some(({ type }) => LAST.includes(type));
    return [...events, ...this._ending(state)];
  }

  private _texts(messageId: string, items: readonly unknown[]): Fields[] {
    const delta = items.filter(isText).join('');
    const start = { type: EventType.TEXT_MESSAGE_START, messageId, role: 'assistant' };
    const content = { type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta };
    // The SDK refuses an empty delta.
    return [...(this._hasStarted ? [] : [start]), ...(delta ? [content] : [])];
  }

  /** Begin the run, and replace the messages of a replay: the protocol wants them after the start. */
  private _opened(events: Fields[]): Fields[] {
    if (this._hasStarted || !events.length) return events;
    this._hasStarted = true;
    const [first] = events;
    const isOwn = first?.type === EventType.RUN_STARTED;
    const start = isOwn ? first : { type: EventType.RUN_STARTED, ...this._run };
    const rest = isOwn ? events.slice(1) : events;
    this._run = { threadId: start.threadId, runId: start.runId };
    return [start, ...this._history(), ...rest];
  }

  private _history(): Fields[] {
    const { messages } = this._input;
    const count = messages.map(({ role }) => role).lastIndexOf('user') + 1;
    return this._mode === 'replay' ? [{ type: EventType.MESSAGES_SNAPSHOT, messages: messages.slice(0, count) }] : [];
  }

  private _ending(state: StreamState<unknown>): Fields[] {
    if (state.state === 'open' && !state.trimmed) return [];
    this.isOver = true;
    if (this._hasFinished) return [];
    if (isFailure(state)) return this._opened([{ type: EventType.RUN_ERROR, message: failureText(state) }]);
    const outcome = state.state === 'stopped' && { outcome: { type: 'cancelled' } };
    const finished = { type: EventType.RUN_FINISHED, ...this._run, ...outcome };
    return this._opened([...(this._parts.close() as Fields[]), finished]);
  }
}

function isEvent(item: unknown): item is Fields {
  return isFields(item) && isText(item.type);
}
