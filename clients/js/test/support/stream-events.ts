/** Events of a stream's writer, for a client that a test controls. */

import type { RealtimeEvent } from '../../src/types.js';
import type { FakeClient } from '../react/fake-client.js';

export const CHANNEL = 'chat.1';

/** Events of the stream `m1`, or another. */
export class StreamEvents {
  private count = 0;
  readonly events: RealtimeEvent[] = [];

  constructor(
    private readonly client: FakeClient,
    private readonly attempt = 'a1',
    private readonly format = 'text',
    private readonly id = 'm1',
  ) {}

  begin(): void {
    this.events.length = 0;
    this.send('stream.started', { stream: this.id, format: this.format, meta: null });
  }

  append(...items: unknown[]): void {
    this.send('stream.part', items, 'append');
  }

  /** Publish a part that no reader gets. */
  skip(): void {
    this.count += 1;
  }

  end(state: string, error: string | null = null, time = Date.now()): void {
    this.send('stream.ended', { stream: this.id, state, error, by: null }, state === 'lost' ? 'lapse' : 'end', time);
  }

  private send(event: string, data: unknown, fold?: RealtimeEvent['fold'], time = Date.now()): void {
    this.count += 1;
    const key = `stream-${this.id}`;
    const sent = this.client.emit(CHANNEL, event, data, { key, attempt: this.attempt, id: `${this.attempt}-${this.count}`, time, ...(fold && { fold }) });
    this.events.push(sent);
  }
}
