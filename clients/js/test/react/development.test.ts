import { afterEach, expect, test, vi } from 'vitest';
import { DebugPanel } from '../../src/react/debug-panel.js';
import { NOT_SUBSCRIBED, STARTING } from '../../src/react/initial.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

function isShown(): boolean {
  return DebugPanel({ state: STARTING, channel: 'user-42', channelState: NOT_SUBSCRIBED }) !== null;
}

test.each([['production', false], ['development', true], ['test', true]])('NODE_ENV=%s', (value, expected) => {
  vi.stubEnv('NODE_ENV', value);
  expect(isShown()).toBe(expected);
});

test('browser without `process` asks `import.meta.env`, as of Vite', () => {
  const { process } = globalThis;
  try {
    Reflect.deleteProperty(globalThis, 'process');
    expect(isShown()).toBe((import.meta as { env?: { DEV?: boolean } }).env?.DEV === true);
  } finally {
    globalThis.process = process;
  }
});
