/** Events by Pusher Channels: pusher-js connects and subscribes, and is let go of when it loses. */

import type { Channel, Options, default as SDK } from 'pusher-js';
import type { Fields } from '../../messages.js';
import type { LinkHandlers, LinkTools } from '../transport.js';
import { HostedLink } from './hosted-transport.js';
import type { Provider, ProviderHandlers, ProviderTools } from './provider.js';

type Pusher = SDK.default;

/** What the bridge calls all its events there. */
const EVENT = 'realtime';

const INTERNAL_ERROR = 500;

/** Pusher's codes: this one pusher-js has an answer to, and from that one on the connection stays. */
const TLS_ONLY = 4000;
const STAYS_OPEN = 4300;

export function pusherLink(tools: LinkTools, handlers: LinkHandlers): HostedLink {
  return new HostedLink(openPusher, tools, handlers);
}

export async function openPusher(tools: ProviderTools, handlers: ProviderHandlers): Promise<Provider> {
  const Client = await load();
  return new PusherProvider(new Client(String(tools.options.key), optionsOf(tools)), tools, handlers);
}

async function load(): Promise<typeof SDK.default> {
  // Within `try` bundlers take a missing package for a warning: it is needed where Pusher is used.
  try {
    // Its types speak of an ES module, but it is a class that is exported whole.
    return (await import('pusher-js')).default as unknown as typeof SDK.default;
  } catch (cause) {
    throw new Error('this deployment delivers by Pusher: npm install pusher-js', { cause });
  }
}

class PusherProvider implements Provider {
  private _live = true;

  constructor(
    private readonly _pusher: Pusher,
    private readonly _tools: ProviderTools,
    private readonly _handlers: ProviderHandlers,
  ) {
    const { connection } = _pusher;
    connection.bind('connected', () => this._live && _handlers.connected());
    connection.bind('message', () => this._live && _handlers.alive());
    // It would come back by itself, but all clients in step, and after up to a minute.
    for (const ending of ['connecting_in', 'unavailable', 'failed', 'disconnected']) {
      connection.bind(ending, () => this._lose(ending));
    }
    connection.bind('state_change', ({ previous, current }: Fields) => {
      if (previous === 'connected') this._lose('the connection was lost');
      else if (!this._live && current === 'connecting') this.close();
    });
    connection.bind('error', (error: Fields) => this._fail(error));
  }

  subscribe(channel: string): void {
    const channels = this._pusher.subscribe(this._name(channel));
    channels.unbind_all();
    this._bind(channels, channel);
  }

  unsubscribe(channel: string): void {
    this._pusher.unsubscribe(this._name(channel));
  }

  ping(): void {
    this._pusher.send_event('pusher:ping', {});
  }

  /** It asks with whatever token there is then. */
  renew(): void {}

  /** Not within its own callbacks: it would connect again after them, and may do so once even so. */
  close(): void {
    this._live = false;
    queueMicrotask(() => this._pusher.disconnect());
  }

  private _bind(there: Channel, channel: string): void {
    there.bind(EVENT, (frame: unknown) => this._handlers.received(frame));
    there.bind('pusher:subscription_succeeded', () => this._handlers.subscribed(channel));
    there.bind('pusher:subscription_error', ({ status, error }: Fields) =>
      this._handlers.refused(channel, Number(status) || INTERNAL_ERROR, String(error)),
    );
  }

  private _name(channel: string): string {
    return `${this._tools.options.channel_prefix}${channel}`;
  }

  /** Left alone it would try again at once, and without end, when it is told so during a handshake. */
  private _fail(error: Fields): void {
    const { data } = (error.error ?? error) as { data?: Fields };
    const code = Number(data?.code);
    if (code > TLS_ONLY && code < STAYS_OPEN) this._lose(`it says: ${data?.message} (${code})`);
  }

  private _lose(ending: string): void {
    if (!this._live) return;
    this.close();
    this._handlers.lost(`Pusher: ${ending}`);
  }
}

/** A host of one's own is reached by WebSockets alone: pusher-js would try Pusher's public ones else. */
function optionsOf({ options, authUrl, token }: ProviderTools): Options {
  const { cluster, host, port, tls } = options;
  const headersProvider = () => ({ authorization: `Bearer ${token()}` });
  return {
    cluster: String(cluster ?? 'local'),
    channelAuthorization: { endpoint: authUrl, transport: 'ajax', headersProvider },
    ...(host !== undefined && {
      wsHost: String(host),
      wsPort: Number(port),
      wssPort: Number(port),
      forceTLS: !!tls,
      enabledTransports: ['ws'],
    }),
  };
}
