// Builds dist/: one ES module per entry, a chunk with the code that they share, and declarations.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';
import { OPTIONS } from './options.js';

const ENTRIES = ['index', 'react/index', 'ai/index', 'ag-ui/index'];
/** Entries that are built by themselves: what they share with the others is a few lines. */
const SMALL_ENTRIES = ['pusher/index', 'echo/index'];
const FILES = { ...OPTIONS, outdir: 'dist', sourcemap: true, sourcesContent: true };

/** Part that is built by itself: a chunk of what it has in common with others would be a bare import there, for which bundlers warn. */
const APART = 'shared-transport';
const named = (entries) => Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`]));
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`/${APART}\\.js$`) }, () => ({ path: `./${APART}.js`, external: true }));
  },
};

rmSync('dist', { recursive: true, force: true });
await build({
  ...FILES,
  plugins: [...OPTIONS.plugins, apart],
  entryPoints: named(ENTRIES),
  splitting: true,
});
await build({ ...FILES, entryPoints: named(SMALL_ENTRIES), splitting: true });
await build({ ...FILES, entryPoints: { [APART]: `src/transports/shared/${APART}.ts` } });
for (const name of readdirSync('src/react').filter((file) => file.endsWith('.css'))) {
  copyFileSync(`src/react/${name}`, `dist/react/${name}`);
}
// npm packs a licence only from the package's own folder.
copyFileSync('../../LICENSE', 'LICENSE');
const compiler = 'node_modules/typescript/bin/tsc';
execFileSync(process.execPath, [compiler, '--project', 'tsconfig.build.json'], { stdio: 'inherit' });
