// Writes the file that the server hands out as client.js; with --check, fails where it is stale.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { build } from 'esbuild';
import { OPTIONS } from './options.js';

const TARGET = '../../realtime_bridge/server/static/client.js';

const { version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const holder = readFileSync('../../LICENSE', 'utf8').match(/^Copyright.*$/m)?.[0] ?? '';
const { outputFiles } = await build({
  ...OPTIONS,
  // What a page without npm needs: the client; the cores of the hooks come with the package.
  stdin: { contents: `export { HybridClient } from './src/index.ts'`, resolveDir: '.' },
  minify: true,
  write: false,
  banner: {
    js: `/*! realtime-bridge ${version} | ${license} | ${holder} | built from clients/js, do not edit */`,
  },
});
const [{ text }] = outputFiles;
if (!process.argv.includes('--check')) {
  mkdirSync(dirname(TARGET), { recursive: true });
  writeFileSync(TARGET, text);
} else if (text !== readTarget()) {
  console.error(`${TARGET} does not match the sources: run "npm run bundle" and commit it`);
  process.exitCode = 1;
}

function readTarget() {
  try {
    return readFileSync(TARGET, 'utf8');
  } catch {
    return '';
  }
}
