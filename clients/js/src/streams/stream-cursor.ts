/** Place of a reader in the items of one stream. */

import type { StreamState } from '../types.js';
import { StreamRestartedError } from './stream-restarted-error.js';

export class StreamCursor<Item> {
  private _attempt: string | null = null;
  private _count = 0;

  /** Return the items that a state adds; throw a `StreamRestartedError` where another attempt has replaced the earlier ones. */
  read({ id, attempt, items }: StreamState<Item>): readonly Item[] {
    if (attempt !== this._attempt) {
      if (this._count) throw new StreamRestartedError(id);
      this._attempt = attempt;
    }
    // A log that has lost everything gets the same items again: they are fewer for a moment.
    const added = items.slice(this._count);
    this._count += added.length;
    return added;
  }
}
