/** Stream that began last, among the events of a channel. */

import type { RealtimeEvent } from '../types.js';
import { STARTED, streamKey } from './fold.js';

/** Return its id; null where no stream began. */
export function newestStream(events: readonly RealtimeEvent[]): string | null {
  const prefix = streamKey('');
  const isBase = ({ event, key, fold }: RealtimeEvent): boolean => event === STARTED && !fold && key?.startsWith(prefix) === true;
  const offsetOf = ({ position }: RealtimeEvent): number => position?.offset ?? 0;
  const [newest] = events.filter(isBase).sort((one, other) => offsetOf(other) - offsetOf(one));
  return newest?.key?.slice(prefix.length) ?? null;
}
