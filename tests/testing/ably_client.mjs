// The unmodified ably-js: tells states and messages as lines of JSON, and publishes what it is told.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const Ably = createRequire(new URL('../../clients/js/', import.meta.url))('ably')
const { options, channels } = JSON.parse(process.argv[2])
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const client = new Ably.Realtime({ endpoint: '127.0.0.1', tls: false, ...options })
client.connection.on(({ current, reason }) => say({ state: current, code: reason?.code ?? null }))
for (const name of channels) {
  const channel = client.channels.get(name)
  const tell = ({ id, name: event, data }) =>
    say({ channel: name, id, event, data: data instanceof Uint8Array ? [...data] : data })
  channel.subscribe(tell).then(
    () => say({ attached: name }),
    ({ code }) => say({ refused: name, code }),
  )
}

const commands = {
  publish: ([channel, ...message]) => client.channels.get(channel).publish(...message),
  close: () => client.close(),
}
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = JSON.parse(line)
  Promise.resolve(commands[command](rest)).then(
    (done) => say({ done: command, serials: done?.serials }),
    ({ code }) => say({ failed: command, code }),
  )
}
client.close()
