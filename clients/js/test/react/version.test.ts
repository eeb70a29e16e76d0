import { version as rendererVersion } from 'react-dom';
import { version } from 'react';
import { expect, test } from 'vitest';

test('the suite runs with the React that was asked for', () => {
  expect(version.split('.')[0]).toBe(process.env['REACT'] ?? '19');
  expect(rendererVersion).toBe(version);
});
