/** Namespaces of debug lines. */

import { expect, it } from 'vitest';
import { isEnabled } from '../../src/browser/debug.js';


it.each([
  ['realtime:*', true],
  ['*', true],
  ['other, realtime:client', true],
  ['realtime:*,-realtime:client', false],
  ['other:*', false],
  ['', false],
])('debug=%s: %s', (setting, enabled) => {
  expect(isEnabled('realtime:client', setting)).toBe(enabled);
});
