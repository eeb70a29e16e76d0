// Pusher's server SDK for Node: runs one call, and prints its answer as JSON.
import { createRequire } from 'node:module'

const Pusher = createRequire(new URL('../../../clients/js/', import.meta.url))('pusher')
const [options, method, args] = process.argv.slice(2).map((text) => JSON.parse(text))
const pusher = new Pusher(options)
try {
  const response = await pusher[method](...args)
  const text = typeof response?.text === 'function' ? await response.text() : JSON.stringify(response)
  process.stdout.write(JSON.stringify({ status: response?.status ?? 200, text }))
} catch (error) {
  process.stdout.write(JSON.stringify({ status: error.status ?? 0, text: error.body ?? String(error) }))
}
