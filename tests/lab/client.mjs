// Process with npm clients that write down their events, resets and statuses.
// Arguments: the built client, and a task as JSON, as in client.py.

import { pathToFileURL } from 'node:url';

const [, , bundle, argument] = process.argv;
const { HybridClient } = await import(pathToFileURL(bundle).href);
const task = JSON.parse(argument);

function write(fields) {
  process.stdout.write(`${JSON.stringify({ at: Date.now() / 1000, ...fields })}\n`);
}

function place(position) {
  return position ? { epoch: position.epoch, offset: position.offset } : {};
}

function subscribe(client, source, channel, hasSnapshots, onStart) {
  const state = client.channel(channel);
  const unsubscribe = state.subscribe(() => {
    const { position, error } = state.get();
    if (error) write({ source, kind: 'error', text: `${channel}: ${error}` });
    if (!position) return;
    unsubscribe();
    write({ source, kind: 'start', channel, ...place(position) });
    onStart();
  });
  client.subscribe(channel, {
    onEvent: ({ id, position }) => write({ source, kind: 'event', channel, id, ...place(position) }),
    onReset: ({ reason, position }) => write({ source, kind: 'reset', channel, text: reason, ...place(position) }),
    ...(hasSnapshots && {
      onSnapshot: ({ position }) => write({ source, kind: 'snapshot', channel, ...place(position) }),
    }),
  });
}

function run(source, number) {
  const transport = source.split('-')[1];
  const client = new HybridClient({ endpoint: task.url, token: task.token, transport });
  let kind = null;
  client.state.subscribe(() => {
    const { kind: now } = client.state.get();
    if (now !== kind) write({ source, kind: 'status', text: now });
    kind = now;
  });
  let missing = task.channels.length;
  for (const channel of task.channels) {
    subscribe(client, source, channel, number % 2 === 0, () => {
      missing -= 1;
      if (missing === 0) write({ source, kind: 'ready' });
    });
  }
  client.start();
}

task.names.forEach(run);
process.stdin.on('end', () => process.exit(0)).resume();
