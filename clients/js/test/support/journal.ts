/** What a client's handlers were called with, and a way to wait for it. */

import type { ChannelHandlers, Client, ClientState, ReadableStore } from '../../src/types.js';

export class Journal implements ChannelHandlers {
  readonly entries: unknown[] = [];
  private waiting: (() => void)[] = [];

  readonly onEvent: NonNullable<ChannelHandlers['onEvent']> = (event) => {
    this.note((event.data as { percent: number }).percent);
  };

  readonly onReset: NonNullable<ChannelHandlers['onReset']> = ({ reason }) => {
    this.note(`reset ${reason}`);
  };

  async until(length: number): Promise<unknown[]> {
    while (this.entries.length < length) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.entries;
  }

  private note(entry: unknown): void {
    this.entries.push(entry);
    for (const wake of this.waiting.splice(0)) wake();
  }
}

/** Resolves when a store's value is as wanted. */
export async function when<Value>(
  store: ReadableStore<Value>,
  wanted: (value: Value) => boolean,
): Promise<Value> {
  while (!wanted(store.get())) {
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
