/** Joined deltas of an answer; twin of `joined` in protocol/streams/answer.py. */

import type { Item } from './open-parts.js';

/** Type of a delta, with the field that names its part. */
export type Deltas = Readonly<Record<string, string>>;

type Fields = Record<string, unknown>;

/** Return items, with neighbouring deltas of one part as one item: an SDK copies the message for each. */
export function joined<Value extends Item>(items: readonly Value[], deltas: Deltas): Value[] {
  const result: Value[] = [];
  for (const item of items) {
    const last = result.at(-1);
    const part = last && partOf(last, deltas);
    if (last && part && part === partOf(item, deltas)) {
      const delta = `${(last as unknown as Fields).delta}${(item as unknown as Fields).delta}`;
      result[result.length - 1] = { ...last, delta };
    } else {
      result.push(item);
    }
  }
  return result;
}

/** Return the part of a delta that has no further fields; an empty text for another item. */
function partOf(item: Item, deltas: Deltas): string {
  const field = deltas[item.type];
  const fields = item as unknown as Fields;
  const isPlain = field !== undefined && field in fields && 'delta' in fields && Object.keys(fields).length === 3;
  return isPlain ? `${item.type} ${fields[field]}` : '';
}
