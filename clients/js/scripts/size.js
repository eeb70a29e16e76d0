// Fails when what a browser has to load has grown beyond its budget, minified and gzipped.

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const BUDGETS = [
  { name: 'core', contents: `export { HybridClient } from './src/index.ts'`, limit: 12 * 1024 },
  { name: 'core with React parts', contents: `export * from './src/react/index.ts'`, limit: 18 * 1024 },
];

for (const { name, contents, limit } of BUDGETS) {
  const size = await gzipped(contents);
  console.log(`${name}: ${size} of ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
}

async function gzipped(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: '.', loader: 'ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    mangleProps: /^_[a-z]/,
    external: ['react', 'react/jsx-runtime'],
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}
