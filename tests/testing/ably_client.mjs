// Client of the unmodified ably-js: reports states and messages, and runs commands, as lines of JSON.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const Ably = createRequire(new URL('../../clients/js/', import.meta.url))('ably')
const { options, channels } = JSON.parse(process.argv[2])
const report = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const client = new Ably.Realtime({ endpoint: '127.0.0.1', tls: false, ...options })
client.connection.on(({ current, reason }) => report({ state: current, code: reason?.code ?? null }))
for (const name of channels) {
  const channel = client.channels.get(name)
  const onMessage = ({ id, name: event, data }) =>
    report({ channel: name, id, event, data: data instanceof Uint8Array ? [...data] : data })
  channel.subscribe(onMessage).then(
    () => report({ attached: name }),
    ({ code }) => report({ refused: name, code }),
  )
}

const commands = {
  publish: ([channel, ...message]) => client.channels.get(channel).publish(...message),
  close: () => client.close(),
}
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = JSON.parse(line)
  Promise.resolve(commands[command](rest)).then(
    (done) => report({ done: command, serials: done?.serials }),
    ({ code }) => report({ failed: command, code }),
  )
}
client.close()
