/** State of a stream, folded from its events; all functions are pure. Twin of protocol/streams/snapshot.py. */

import { isFields, isText } from '../messages.js';
import type { Fields } from '../messages.js';
import type { RealtimeEvent, StreamPhase, StreamState } from '../types.js';

export const STARTED = 'stream.started';

/** State of a stream before its first event. */
export const UNKNOWN_STREAM: StreamState<never> = {
  id: null,
  attempt: null,
  format: 'text',
  state: 'unknown',
  items: [],
  text: '',
  error: null,
  meta: null,
  trimmed: false,
  lastId: null,
  phase: 'syncing',
};

const ENDS: readonly unknown[] = ['completed', 'failed', 'stopped'];

/** Return the key of a stream's events. */
export function streamKey(stream: string): string {
  return `stream-${stream}`;
}

/** Return the state after another event of the stream's key; unreadable data changes nothing. */
export function foldStream<Item>(state: StreamState<Item>, event: RealtimeEvent): StreamState<Item> {
  const { fold, data } = event;
  if (!fold) return isFields(data) ? begin(state, event, data) : state;
  if (fold === 'append') {
    if (!Array.isArray(data)) return state;
    const known = state.attempt === null || state.attempt === event.attempt;
    const before = known ? state : withoutBegin(state, event);
    return append(before, event, data, missesParts(before, event));
  }
  return fold === 'end' || fold === 'lapse' ? end(state, event, isFields(data) ? data : {}) : state;
}

/** Return the state that a key's group describes, with all items; without a group, what is shown stays. */
export function foldGroup<Item>(state: StreamState<Item>, group: readonly RealtimeEvent[]): StreamState<Item> {
  return group.reduce(
    // The merged parts have the id of the last one, and are complete.
    (before, event) => event.fold === 'append' ? foldStream({ ...before, lastId: null }, event) : foldStream(before, event),
    state,
  );
}

function begin<Item>({ phase }: StreamState<Item>, event: RealtimeEvent, data: Fields): StreamState<Item> {
  const { stream, format, meta = null } = data;
  return {
    ...UNKNOWN_STREAM,
    id: isText(stream) ? stream : null,
    attempt: event.attempt ?? null,
    format: isText(format) ? format : 'text',
    state: 'open',
    meta,
    lastId: event.id,
    phase,
  };
}

/**
 * Return the state of another attempt, whose begin and first items did not arrive. A log that lost
 * everything takes an earlier attempt for the owner: its begin is known already.
 */
function withoutBegin({ id, format, phase }: StreamState<unknown>, event: RealtimeEvent): StreamState<never> {
  return { ...UNKNOWN_STREAM, id, attempt: event.attempt ?? null, format, phase, trimmed: true };
}

function append<Item>(state: StreamState<Item>, { id }: RealtimeEvent, items: Item[], misses: boolean): StreamState<Item> {
  return {
    ...state,
    state: 'open',
    items: [...state.items, ...items],
    text: state.text + items.filter(isText).join(''),
    error: null,
    trimmed: state.trimmed || misses,
    lastId: id,
  };
}

function end<Item>(state: StreamState<Item>, event: RealtimeEvent, { state: end, error }: Fields): StreamState<Item> {
  const known = ENDS.includes(end) ? (end as StreamPhase) : 'completed';
  const isLapse = event.fold === 'lapse';
  return {
    ...state,
    state: isLapse ? 'lost' : known,
    error: isText(error) ? error : null,
    trimmed: state.trimmed || missesParts(state, event),
    // A lapse is made by the log: the writer's next event continues its last one.
    lastId: isLapse ? state.lastId : event.id,
  };
}

/** Return whether the writer published events between the last one and this; our writers number their events. */
function missesParts({ lastId }: { lastId: string | null }, { id }: RealtimeEvent): boolean {
  const [, nonce, number] = numbered(id);
  const [, lastNonce, last] = numbered(lastId ?? '');
  return number !== undefined && nonce === lastNonce && Number(number) > Number(last) + 1;
}

function numbered(id: string): readonly (string | undefined)[] {
  return /^(.*)-(\d{1,15})$/s.exec(id) ?? [];
}
