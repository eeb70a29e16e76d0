// Unmodified pusher-js or laravel-echo: reports states and events, and runs commands, as lines of JSON.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const load = createRequire(new URL('../../../clients/js/', import.meta.url))
const { library, broadcaster, key, options } = JSON.parse(process.argv[2])
const report = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const Pusher = load(library)
let client
let channelOf
if (broadcaster) {
  // Its entry for `require` is marked as a module, and does not load.
  const { default: Echo } = await import(new URL('../../../clients/js/node_modules/laravel-echo/dist/echo.js', import.meta.url))
  const echo = new Echo({ broadcaster, Pusher, key, ...options })
  client = echo.connector.pusher
  const joined = (channel) =>
    channel
      .here((users) => report({ here: users }))
      .joining((user) => report({ joining: user }))
      .leaving((user) => report({ leaving: user }))
  channelOf = (name) =>
    name.startsWith('private-encrypted-')
      ? echo.encryptedPrivate(name.slice('private-encrypted-'.length))
      : name.startsWith('private-')
        ? echo.private(name.slice('private-'.length))
        : name.startsWith('presence-')
          ? joined(echo.join(name.slice('presence-'.length)))
          : echo.channel(name)
} else {
  client = new Pusher(key, options)
}
client.connection.bind('state_change', ({ current }) =>
  report({ state: current, socket: client.connection.socket_id ?? null }),
)
client.connection.bind('error', (error) => report({ error: error?.data?.code ?? error?.error?.data?.code ?? null }))

// A handler of one event: Echo adds a namespace to names without a dot before them.
const bind = (channel, event, handler) =>
  broadcaster ? channel.listen('.' + event, handler) : channel.bind(event, handler)

const commands = {
  subscribe: ([name, ...events]) => {
    const channel = broadcaster ? channelOf(name) : client.subscribe(name)
    const raw = broadcaster ? channel.subscription : channel
    raw.bind('pusher:subscription_succeeded', (data) =>
      report({ subscribed: name, members: data?.members ?? null, count: data?.count ?? null, me: data?.me ?? null }),
    )
    raw.bind('pusher:member_added', ({ id, info }) => report({ added: id, info, count: raw.members.count }))
    raw.bind('pusher:member_removed', ({ id }) => report({ removed: id, count: raw.members.count }))
    raw.bind('pusher:subscription_error', ({ status }) => report({ refused: name, status }))
    raw.bind('pusher:cache_miss', () => report({ miss: name }))
    for (const event of events) bind(channel, event, (data) => report({ channel: name, event, data }))
  },
  trigger: ([name, event, data]) => report({ sent: client.channel(name).trigger(event, data) }),
  signin: () => {
    client.bind('pusher:signin_success', () => report({ signedIn: true }))
    client.user.bind('note', (data) => report({ user: true, data }))
    client.signin()
  },
  unsubscribe: ([name]) => client.unsubscribe(name),
  disconnect: () => client.disconnect(),
}
report({ state: client.connection.state, socket: client.connection.socket_id ?? null })
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = JSON.parse(line)
  commands[command](rest)
}
client.disconnect()
process.exit(0)
