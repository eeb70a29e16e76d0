/** Parts of an answer that have a start and no end yet; twin of `OpenParts` in protocol/streams/answer.py. */

/** Item of an answer. */
export interface Item {
  readonly type: string;
}

/** Types of starts, with the type of their end and the field that names the part. */
export type Ends = Readonly<Record<string, readonly [end: string, field: string]>>;

export class OpenParts {
  private readonly _open = new Map<string, Item>();
  private readonly _fields: ReadonlyMap<string, string>;

  constructor(private readonly _ends: Ends) {
    this._fields = new Map(Object.values(_ends));
  }

  /** Follow the starts and ends among items. */
  add(items: readonly Item[]): void {
    for (const item of items) {
      const [end = item.type, field = this._fields.get(item.type)] = this._ends[item.type] ?? [];
      if (!field) continue;
      const name = (item as unknown as Record<string, unknown>)[field];
      if (end === item.type) this._open.delete(`${end} ${name}`);
      else this._open.set(`${end} ${name}`, { type: end, [field]: name });
    }
  }

  /** Return the missing ends, the innermost first. */
  close(): Item[] {
    return [...this._open.values()].reverse();
  }
}
