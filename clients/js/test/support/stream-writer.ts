/** Writer of a stream by `POST publish`, as a worker in another language has it. */

import type { Server } from './server.js';

export class StreamWriter {
  /** Items so far. */
  readonly items: string[] = [];
  private events = 0;

  constructor(
    private readonly server: Server,
    private readonly channel: string,
    readonly id: string,
    private readonly attempt = 'first',
  ) {}

  get text(): string {
    return this.items.join('');
  }

  start(): Promise<void> {
    const data = { stream: this.id, format: 'text', meta: null };
    return this.publish('stream.started', data, { take: 'always' });
  }

  /** Append so many parts of two items, one after another. */
  async append(parts: number): Promise<void> {
    for (let part = 0; part < parts; part += 1) {
      const items = [`${this.items.length} `, `${this.items.length + 1} `];
      this.items.push(...items);
      await this.publish('stream.part', items, { fold: 'append' });
    }
  }

  end(): Promise<void> {
    return this.publish('stream.ended', { stream: this.id, state: 'completed', error: null, by: null }, { fold: 'end' });
  }

  private publish(event: string, data: unknown, fields: object): Promise<void> {
    const { channel, attempt } = this;
    this.events += 1;
    const id = `${this.id}.${attempt}-${this.events}`;
    return this.server.publishEvents([{ channel, event, key: `stream-${this.id}`, id, attempt, data, ...fields }]);
  }
}
