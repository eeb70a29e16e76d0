/** Provider Pusher Channels, by pusher-js without its own reconnects. */

import type { Channel, Members, Options, default as SDK } from 'pusher-js';
import { isDevelopment } from '../../browser/development.js';
import type { Fields } from '../../messages.js';
import type { TransportHandlers, TransportTools } from '../transport.js';
import { HostedTransport } from './hosted-transport.js';
import { Permissions } from './permissions.js';
import { PRESENCE } from './provider.js';
import type { Provider, ProviderHandlers, ProviderMember, ProviderTools } from './provider.js';

type Pusher = SDK.default;

/** Data of pusher-js for a permission, and for a sign-in. */
type Permission = { auth: string };
/** Member in the terms of pusher-js. */
type Member = { id: string | number; info?: unknown };
type SignIn = { auth: string; user_data: string };

/** Name of all events that the bridge publishes by Pusher. */
const EVENT = 'realtime';

const MALFORMED = 400;
const UNAVAILABLE = 503;

/** Pusher's code for a TLS-only application, which pusher-js handles by connecting again with TLS. */
const TLS_ONLY = 4000;
/** First of Pusher's codes after which the connection stays open. */
const STAYS_OPEN = 4300;

export function open(tools: TransportTools, handlers: TransportHandlers): HostedTransport {
  return new HostedTransport(openPusher, tools, handlers);
}

export async function openPusher(tools: ProviderTools, handlers: ProviderHandlers): Promise<Provider> {
  const Client = await load();
  const statuses = new Map<string, number>();
  const permissions = new Permissions(tools, () => client.signin());
  const client: Pusher = new Client(String(tools.options.key), optionsOf(tools, permissions, statuses));
  return new PusherProvider(client, tools, handlers, permissions, statuses);
}

async function load(): Promise<typeof SDK.default> {
  // Within `try`, bundlers only warn about a missing package: it is needed where Pusher is used.
  try {
    // The types describe an ES module, but the package exports the class itself.
    return (await import('pusher-js')).default as unknown as typeof SDK.default;
  } catch (cause) {
    const reason = 'pusher-js is missing, and this deployment delivers by Pusher: npm install pusher-js';
    // The page polls, which may not be noticed.
    if (isDevelopment()) console.warn(`realtime-bridge: ${reason}`);
    throw new Error(reason, { cause });
  }
}

class PusherProvider implements Provider {
  private _live = true;

  constructor(
    private readonly _pusher: Pusher,
    private readonly _tools: ProviderTools,
    private readonly _handlers: ProviderHandlers,
    private readonly _permissions: Permissions,
    /** HTTP status of each channel's last failed authorization, which pusher-js does not pass on. */
    private readonly _statuses: ReadonlyMap<string, number>,
  ) {
    const { connection } = _pusher;
    connection.bind('connected', () => this._live && _handlers.connected());
    connection.bind('message', () => this._live && _handlers.alive());
    // pusher-js would reconnect by itself, but all clients at the same time, and after up to a minute.
    for (const state of ['connecting_in', 'unavailable', 'failed', 'disconnected']) {
      connection.bind(state, () => this._lose(state));
    }
    connection.bind('state_change', ({ previous, current }: Fields) => {
      if (previous === 'connected') this._lose('the connection was lost');
      else if (!this._live && current === 'connecting') this.close();
    });
    connection.bind('error', (error: Fields) => this._onError(error));
  }

  subscribe(channel: string): void {
    const known = this._pusher.channel(this._name(channel)) as Channel | undefined;
    // After a refusal by the server pusher-js waits for its answer without an end, and sends nothing again.
    if (known && !known.subscribed) known.subscriptionPending = false;
    const pusherChannel = this._pusher.subscribe(this._name(channel));
    // pusher-js returns the same object for a repeated subscription.
    pusherChannel.unbind_all();
    this._bind(pusherChannel, channel);
  }

  unsubscribe(channel: string): void {
    this._pusher.unsubscribe(this._name(channel));
  }

  ping(): void {
    this._pusher.send_event('pusher:ping', {});
  }

  /** Do nothing: each authorization request reads the token of that moment. */
  renew(): void {}

  /** Disconnect later: within its own callbacks pusher-js would connect again, and may do so once even now. */
  close(): void {
    this._live = false;
    this._permissions.release();
    queueMicrotask(() => this._pusher.disconnect());
  }

  private _bind(pusherChannel: Channel, channel: string): void {
    const handlers = this._handlers;
    pusherChannel.bind(EVENT, (data: unknown) => handlers.received(data));
    if (channel.startsWith(PRESENCE)) bindMembers(pusherChannel, channel, handlers);
    else pusherChannel.bind('pusher:subscription_succeeded', () => handlers.subscribed(channel));
    pusherChannel.bind('pusher:subscription_error', ({ type, status, error }: Fields) => {
      if (type === 'LimitReached' && channel.startsWith(PRESENCE)) {
        // A list without this user, or of those who have no room either, would be wrong.
        handlers.refused(channel, MALFORMED, 'Pusher has room for 100 members of a channel: set REALTIME_BACKEND to another one for more');
        return;
      }
      // The provider's own refusal has a status: our token is valid, and other channels are not concerned.
      const code = status ? UNAVAILABLE : this._statuses.get(this._name(channel));
      handlers.refused(channel, code ?? UNAVAILABLE, `Pusher refuses the channel: ${error}`);
    });
  }

  /** Return the name at Pusher: members of a channel are those of a channel beside it. */
  private _name(channel: string): string {
    const prefix = String(this._tools.options.channel_prefix);
    if (!channel.startsWith(PRESENCE)) return prefix + channel;
    return prefix.replace('private-', 'presence-') + channel.slice(PRESENCE.length);
  }

  /** Close after an error during a handshake: pusher-js would connect again at once, without end. */
  private _onError(error: Fields): void {
    const { data } = (error.error ?? error) as { data?: Fields };
    const code = Number(data?.code);
    if (code > TLS_ONLY && code < STAYS_OPEN) this._lose(`${data?.message} (${code})`);
  }

  private _lose(reason: string): void {
    if (!this._live) return;
    this.close();
    this._handlers.lost(`Pusher: ${reason}`);
  }
}

/** Pass on the members of a channel; Pusher counts each user once. */
function bindMembers(pusherChannel: Channel, channel: string, handlers: ProviderHandlers): void {
  const memberOf = ({ id, info }: Member): ProviderMember => ({ key: String(id), user: String(id), info });
  pusherChannel.bind('pusher:subscription_succeeded', (members: Members) => {
    const list: ProviderMember[] = [];
    members.each((member: Member) => list.push(memberOf(member)));
    handlers.members(channel, list);
  });
  for (const change of ['added', 'removed']) {
    pusherChannel.bind(`pusher:member_${change}`, (member: Member | null) => {
      // pusher-js passes null for the id `__proto__`, which its object of members cannot have.
      if (member) handlers.changed(channel, memberOf(member), change === 'added');
    });
  }
}

/** Return the SDK's options. A host of one's own gets WebSockets only: pusher-js would also try Pusher's public hosts. */
function optionsOf({ options, authURL }: ProviderTools, permissions: Permissions, statuses: Map<string, number>): Options {
  const { cluster, host, port, tls } = options;
  return {
    cluster: String(cluster ?? 'mt1'),
    channelAuthorization: {
      endpoint: authURL,
      transport: 'ajax',
      customHandler: ({ channelName, socketId }, answer) =>
        permissions.request(channelName, socketId, (status, permission) => {
          if (status) statuses.set(channelName, status);
          const error = status ? new Error(`the bridge answered ${status}`) : null;
          answer(error, permission as Permission | null);
        }),
    },
    // A connection that is signed in ends at once when the user's access is revoked.
    userAuthentication: {
      endpoint: authURL,
      transport: 'ajax',
      customHandler: (_, answer) => answer(null, permissions.signIn as SignIn | null),
    },
    ...(host !== undefined && {
      wsHost: String(host),
      wsPort: Number(port),
      wssPort: Number(port),
      forceTLS: !!tls,
      enabledTransports: ['ws'],
    }),
  };
}
