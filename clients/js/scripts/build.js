// Builds dist/: one ES module per entry, a chunk with the code that they share, and declarations.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';
import { OPTIONS } from './options.js';

const ENTRIES = ['index', 'react/index', 'ai/index', 'ag-ui/index'];

rmSync('dist', { recursive: true, force: true });
await build({
  ...OPTIONS,
  entryPoints: Object.fromEntries(ENTRIES.map((name) => [name, `src/${name}.ts`])),
  outdir: 'dist',
  splitting: true,
  sourcemap: true,
  sourcesContent: true,
});
for (const name of readdirSync('src/react').filter((file) => file.endsWith('.css'))) {
  copyFileSync(`src/react/${name}`, `dist/react/${name}`);
}
// npm packs a licence only from the package's own folder.
copyFileSync('../../LICENSE', 'LICENSE');
const compiler = 'node_modules/typescript/bin/tsc';
execFileSync(process.execPath, [compiler, '--project', 'tsconfig.build.json'], { stdio: 'inherit' });
