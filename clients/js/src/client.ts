/** The client that always has a way. (First shape: being written.) */
import { Store } from './store.js';
import type {
  ChannelHandlers,
  ChannelState,
  Client,
  ClientOptions,
  ClientState,
  ReadableStore,
} from './types.js';

export class HybridClient implements Client {
  readonly state: ReadableStore<ClientState>;

  constructor(_options: ClientOptions = {}) {
    this.state = new Store<ClientState>({
      kind: 'paused',
      label: 'Paused',
      reason: null,
      mode: 'IDLE',
      transport: null,
      updateSource: 'polling',
      websocketStatus: 'disconnected',
      user: null,
      client: '',
      generation: 0,
      lastSync: null,
      attempts: 0,
      transitions: [],
    });
  }

  start(): void {}
  stop(): void {}
  retry(): void {}
  refresh(): void {}
  subscribe(_channel: string, _handlers: ChannelHandlers): () => void {
    return () => {};
  }
  channel(_name: string): ReadableStore<ChannelState> {
    return new Store<ChannelState>({ phase: 'syncing', position: null, error: null });
  }
}
