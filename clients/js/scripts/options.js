// Options of every build of the package.

import { privateNames, privatePattern, sources } from './names.js';

/** Join the imports of React of all files, so that an application's minifier names them once. */
const reactOnce = {
  name: 'react-once',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^react(\/jsx-runtime)?$/ }, ({ path, namespace }) =>
      namespace === 'once' ? { path, external: true } : { path, namespace: 'once', sideEffects: false },
    );
    onLoad({ filter: /.*/, namespace: 'once' }, ({ path }) => ({
      contents: `export { ${path === 'react' ? usedOfReact() : 'Fragment, jsx, jsxs'} } from '${path}'`,
    }));
  },
};

/** Return the names that are used: each version of React exports others. */
function usedOfReact() {
  const imports = sources().flatMap((text) => text.match(/(?<=^import \{)[^}]*(?=\} from 'react';$)/gm) ?? []);
  const names = imports.flatMap((list) => list.split(',')).map((name) => name.trim());
  return [...new Set(names.filter((name) => !name.startsWith('type ')))];
}

/** SDKs of hosted providers; the package does not contain them. */
export const SDKS = ['ably', 'pusher-js'];

/** All peers beside React. */
export const PEERS = [...SDKS, 'ai', '@ag-ui/client', 'laravel-echo', 'rxjs'];

export const OPTIONS = {
  bundle: true,
  external: PEERS,
  format: 'esm',
  target: 'es2022',
  // "neutral" leaves process.env.NODE_ENV to the application's bundler.
  platform: 'neutral',
  mangleProps: privatePattern(),
  mangleCache: privateNames(),
  jsx: 'automatic',
  plugins: [reactOnce],
};
