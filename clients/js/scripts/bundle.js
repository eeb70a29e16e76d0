// Writes the files that the server serves: client.js, and the files that it loads on demand, which
// include the providers' SDKs. With --check, fails where a file does not match the sources.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import { OPTIONS } from './options.js';

const FOLDER = '../../realtime_bridge/server/static';
/** Path as the importing file writes it: the file below `src` without its ending, and its name on the server. */
const ON_DEMAND = {
  './sse.js': ['transports/sse', 'client-sse.js'],
  './shared/shared-transport.js': ['transports/shared/shared-transport', 'client-tabs.js'],
  './hosted/ably.js': ['transports/hosted/ably', 'client-ably.js'],
  './hosted/pusher.js': ['transports/hosted/pusher', 'client-pusher.js'],
  './presence-follower.js': ['presence/presence-follower', 'client-presence.js'],
};

const { version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const holder = readFileSync('../../LICENSE', 'utf8').match(/^Copyright.*$/m)?.[0] ?? '';

// An SDK's names stay as they are: its strings may contain names that look private.
const { external, mangleProps, mangleCache, ...WITH_SDK } = OPTIONS;

/** Keep the files that are loaded on demand apart from client.js. */
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\// }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path: `./${ON_DEMAND[path][1]}`, external: true } : undefined,
    );
  },
};

// A page without npm needs the client only; the cores of the hooks come with the package.
const MAIN = { ...OPTIONS, plugins: [...OPTIONS.plugins, apart] };
await write('client.js', `export { HybridClient } from './src/index.ts'`, MAIN);
for (const [source, name] of Object.values(ON_DEMAND)) {
  const contents = await bundled(`export * from './src/${source}.ts'`);
  await write(name, contents, WITH_SDK);
}

/** Return our own part of a file, with its private names shortened as in client.js. */
async function bundled(contents) {
  const { outputFiles } = await build({ ...OPTIONS, stdin: { contents, resolveDir: '.' }, write: false });
  return outputFiles[0].text;
}

async function write(name, contents, options) {
  const { outputFiles } = await build({
    ...options,
    stdin: { contents, resolveDir: '.' },
    platform: 'browser',
    minify: true,
    write: false,
    legalComments: 'inline',
    banner: {
      js: `/*! realtime-bridge ${version} | ${license} | ${holder} | built from clients/js, do not edit */`,
    },
  });
  const [{ text }] = outputFiles;
  const target = `${FOLDER}/${name}`;
  if (!process.argv.includes('--check')) {
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(target, text);
  } else if (text !== read(target)) {
    console.error(`${target} does not match the sources: run "npm run bundle" and commit it`);
    process.exitCode = 1;
  }
}

function read(target) {
  try {
    return readFileSync(target, 'utf8');
  } catch {
    return '';
  }
}
