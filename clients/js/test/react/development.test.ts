import { afterEach, expect, test, vi } from 'vitest';
import { isDevelopment } from '../../src/react/development.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

test.each([['production', false], ['development', true], ['test', true]])('NODE_ENV=%s', (value, expected) => {
  vi.stubEnv('NODE_ENV', value);
  expect(isDevelopment()).toBe(expected);
});

test('a browser without `process` counts as production', () => {
  const { process } = globalThis;
  try {
    Reflect.deleteProperty(globalThis, 'process');
    expect(isDevelopment()).toBe(false);
  } finally {
    globalThis.process = process;
  }
});
