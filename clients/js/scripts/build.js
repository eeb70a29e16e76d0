// Builds dist/: one ES module per entry, what they share in a chunk, and declarations.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const REACT = 'dist/react/index.js';

rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints: { index: 'src/index.ts', 'react/index': 'src/react/index.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  // "neutral" leaves process.env.NODE_ENV for the application's own bundler to replace.
  platform: 'neutral',
  mangleProps: /^_[a-z]/,
  external: ['react', 'react/jsx-runtime'],
  jsx: 'automatic',
  sourcemap: true,
  sourcesContent: true,
});
// Directives of bundled files are dropped; Next's app router wants this one first.
writeFileSync(REACT, `'use client';\n${readFileSync(REACT, 'utf8')}`);
for (const name of readdirSync('src/react').filter((file) => file.endsWith('.css'))) {
  copyFileSync(`src/react/${name}`, `dist/react/${name}`);
}
execFileSync('npx', ['tsc', '--project', 'tsconfig.build.json'], { stdio: 'inherit' });
