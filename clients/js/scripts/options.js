// What every build of the package has in common.

import { privateNames, privatePattern, sources } from './names.js';

/** Every file's imports of React become one, so that an application's minifier names it once. */
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

/** No more than is used: each version of React exports other names. */
function usedOfReact() {
  const imports = sources().flatMap((text) => text.match(/(?<=^import \{)[^}]*(?=\} from 'react';$)/gm) ?? []);
  const names = imports.flatMap((list) => list.split(',')).map((name) => name.trim());
  return [...new Set(names.filter((name) => !name.startsWith('type ')))];
}

export const OPTIONS = {
  bundle: true,
  format: 'esm',
  target: 'es2022',
  // "neutral" leaves process.env.NODE_ENV for the application's own bundler to replace.
  platform: 'neutral',
  mangleProps: privatePattern(),
  mangleCache: privateNames(),
  jsx: 'automatic',
  plugins: [reactOnce],
};
