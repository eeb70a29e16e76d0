// @vitest-environment jsdom
import { renderHook } from '@testing-library/react';
import { createElement, type ReactNode } from 'react';
import { expect, test } from 'vitest';
import { RealtimeProvider, useJobControl } from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

function control(channel: string | null) {
  const client = new FakeClient();
  const wrapper = ({ children }: { readonly children: ReactNode }) => createElement(RealtimeProvider, { client }, children);
  return { client, ...renderHook(() => useJobControl(channel), { wrapper }) };
}

test('functions reach the client, and keep their identity', async () => {
  const { client, result, rerender } = control('user-42');
  const first = result.current;
  await first.cancel('j1', 'wrong file');
  await first.answer('j1', 'q1', ['a']);
  rerender();
  expect(result.current).toBe(first);
  expect(client.calls.slice(-2)).toEqual(['cancel user-42 j1 wrong file', 'answer user-42 j1 q1 ["a"]']);
});

test('requests without a channel reject', async () => {
  const { client, result } = control(null);
  await expect(result.current.cancel('j1')).rejects.toThrow('the channel of the jobs is not known yet');
  await expect(result.current.answer('j1', 'q1', 1)).rejects.toThrow('the channel of the jobs is not known yet');
  expect(client.calls.join()).not.toContain('user-42');
});
