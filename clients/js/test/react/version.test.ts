import { version as rendererVersion } from 'react-dom';
import { version } from 'react';
import { expect, test } from 'vitest';

test('tests run with the requested React version', () => {
  expect(version.split('.')[0]).toBe(process.env['REACT'] ?? '19');
  expect(rendererVersion).toBe(version);
});
