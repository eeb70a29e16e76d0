// Fails where the code that a browser loads first exceeds its limit: the package as an application
// builds it for production, with everything imported, minified and gzipped, without React.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const CORE = `export { HybridClient } from './dist/index.js';`;
const ALL = `export * from './dist/index.js'; export * from './dist/react/index.js';`;

// 1.5 KiB of these are the health of each connection, deadlines of questions, and the distinction
// of the bridge's refusals from a proxy's: without them a page shows Real-time and receives nothing.
check('core', await gzipped(CORE), 13.5 * 1024);
check('client.js', zip(readFileSync('../../realtime_bridge/server/static/client.js')), 13.5 * 1024);
// 0.15 KiB are the channel of a user with any id.
check('core with React parts', await gzipped(ALL), 20.65 * 1024);

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
    external: ['react', 'react/jsx-runtime'],
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const first = loaded('out/stdin.js', metafile.outputs);
  const files = outputFiles.filter(({ path }) => [...first].some((name) => path.endsWith(name)));
  return files.reduce((sum, { contents: code }) => sum + zip(code), 0);
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
