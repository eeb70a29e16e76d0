import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('.', import.meta.url));
const older = `${root}test/react18/node_modules`;
const testing = '@testing-library/react';

/** Configuration of `REACT=18`: the tests of the React parts with the older React. */
const eighteen = {
  resolve: {
    alias: [
      { find: /^@testing-library\/react$/, replacement: `${root}node_modules/${testing}/dist/${testing}.esm.js` },
      { find: /^react-dom(?=$|\/)/, replacement: `${older}/react-dom` },
      { find: /^react(?=$|\/)/, replacement: `${older}/react` },
    ],
  },
  test: { server: { deps: { inline: [/@testing-library\/react/] } } },
};

const { resolve, test } = process.env.REACT === '18' ? eighteen : { resolve: {}, test: {} };

export default defineConfig({
  resolve,
  test: {
    ...test,
    include: ['test/**/*.test.{ts,tsx}'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // By default two cores get one worker, but most tests wait for timers.
    maxWorkers: 2,
  },
});
