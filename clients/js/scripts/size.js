// Fails where the code that a browser loads first exceeds its limit: the package as an application
// builds it for production, with everything imported, minified and gzipped, without React.

import { readFileSync, readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { PEERS } from './options.js';

const PATHS = {
  sse: 'transports/sse',
  shared: 'transports/shared/shared-transport',
  pusher: 'transports/hosted/pusher',
  ably: 'transports/hosted/ably',
  presence: 'presence/presence-follower',
};

const CORE = `export { HybridClient } from './dist/index.js';`;
const ALL = `export * from './dist/index.js'; export * from './dist/react/index.js';`;

// 1.5 KiB of these are the health of each connection, deadlines of questions, and the distinction
// of the bridge's refusals from a proxy's: without them a page shows Real-time and receives nothing.
// 2 KiB more are polls and connections of many channels, channels that are left and joined again
// without a loss, the causes of failures, and the check of options: a list of 300 rows works, and a
// page shows why it does not. 1.3 KiB of the React parts are their texts as props. 0.15 KiB are the
// channel of a user with any id. 1.2 KiB are streams: their fold, snapshots of one key, and stops;
// `useStream` is 0.1 KiB more. 0.1 KiB are requests to jobs. 0.15 KiB are `presence` and
// its hook; the rest of it is loaded on demand. 2 KiB of the React parts are the rows
// of jobs that people control: Cancel, questions, refusals in words, parts, results and log lines. 0.05 KiB
// are connections that leave the channels that a poll denies. 0.1 KiB are the choice of a connection that
// tabs share, whose code is loaded on demand. 0.05 KiB of the React parts keep the ended parts of a job that
// goes on. 0.05 KiB are the check of an event's trace context.
check('core', await gzipped(CORE), 17.3 * 1024);
check('client.js', zip(readFileSync('../../realtime_bridge/server/static/client.js')), 17.3 * 1024);
check('core with React parts', await gzipped(ALL), 28.5 * 1024);
// Loaded on demand; the SDKs of the providers come on top.
for (const [name, path] of Object.entries(PATHS)) {
  // The shared connection is relay, leader and follower; it reads the log, as the providers' parts do.
  // 0.25 KiB of a provider's part are the members that it keeps.
  const limit = { shared: 5.5, ably: 4.25, pusher: 4.25 }[name] ?? 4;
  check(`on demand: ${name}`, await gzipped(`export * from './src/${path}.ts';`), limit * 1024);
}
// With the parts that they share with the client; their SDKs come on top.
for (const name of ['ai', 'ag-ui', 'pusher', 'echo']) {
  check(`realtime-bridge/${name}`, await gzipped(`export * from './dist/${name}/index.js';`), 2.75 * 1024);
}
const foreign = await importsOf(ALL);
check(`packages in dist beside ${PEERS.join(', ')}, react`, foreign.length, 0);

function check(name, size, limit) {
  console.log(`${name}: ${size} of ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
}

/** Return the size of the files that a page loads first; files loaded on demand do not count. */
async function gzipped(contents) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: '.' },
    bundle: true,
    splitting: true,
    minify: true,
    write: false,
    logLevel: 'error',
    metafile: true,
    outdir: 'out',
    format: 'esm',
    target: 'es2022',
    external: ['react', 'react/jsx-runtime', ...PEERS],
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const first = loaded('out/stdin.js', metafile.outputs);
  const files = outputFiles.filter(({ path }) => [...first].some((name) => path.endsWith(name)));
  return files.reduce((sum, { contents: code }) => sum + zip(code), 0);
}

/** Return the packages that the built files import, apart from the peers: none may be bundled either. */
async function importsOf(contents) {
  const { metafile } = await build({
    stdin: { contents, resolveDir: '.' },
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'out',
    splitting: true,
    format: 'esm',
    external: [...PEERS, 'react', 'react/jsx-runtime'],
  });
  const bundled = Object.keys(metafile.inputs).filter((path) => path.includes('node_modules'));
  const imported = readdirSync('dist', { recursive: true })
    .filter((path) => path.endsWith('.js'))
    .flatMap((path) => [...readFileSync(`dist/${path}`, 'utf8').matchAll(/(?:from|import\()\s*["']([^."'][^"']*)["']/g)])
    .map(([, name]) => name)
    .filter((name) => ![...PEERS, 'react', 'react/jsx-runtime'].includes(name));
  return [...bundled, ...imported];
}

function loaded(name, outputs, names = new Set()) {
  if (names.has(name) || !outputs[name]) return names;
  names.add(name);
  const imports = outputs[name].imports.filter(({ kind }) => kind !== 'dynamic-import');
  for (const { path } of imports) loaded(path, outputs, names);
  return names;
}

function zip(code) {
  return gzipSync(code, { level: 9 }).length;
}
