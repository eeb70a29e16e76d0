/** Records of handler calls, and waits for them. */

import type { ChannelHandlers, Client, ClientState, ReadableStore } from '../../src/types.js';

export class Journal implements ChannelHandlers {
  readonly entries: unknown[] = [];
  private waiting: (() => void)[] = [];

  readonly onEvent: NonNullable<ChannelHandlers['onEvent']> = (event) => {
    this.record((event.data as { percent: number }).percent);
  };

  readonly onReset: NonNullable<ChannelHandlers['onReset']> = ({ reason }) => {
    this.record(`reset ${reason}`);
  };

  readonly onError = (): void => this.record('denied');

  async until(length: number): Promise<unknown[]> {
    while (this.entries.length < length) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.entries;
  }

  private record(entry: unknown): void {
    this.entries.push(entry);
    for (const wake of this.waiting.splice(0)) wake();
  }
}

/** Wait until a store's value fulfils a condition. */
export async function when<Value>(
  store: ReadableStore<Value>,
  condition: (value: Value) => boolean,
): Promise<Value> {
  while (!condition(store.get())) {
    await new Promise<void>((resolve) => {
      const end = store.subscribe(() => {
        end();
        resolve();
      });
    });
  }
  return store.get();
}

export function whenKind(client: Client, kind: ClientState['kind']): Promise<ClientState> {
  return when(client.state, (state) => state.kind === kind);
}

export function whenCurrent(client: Client, channel: string): Promise<unknown> {
  return when(client.channel(channel), ({ phase }) => phase === 'current');
}
