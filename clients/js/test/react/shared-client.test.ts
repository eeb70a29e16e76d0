import { beforeEach, expect, test, vi } from 'vitest';
import { SharedClient } from '../../src/react/shared-client.js';
import type { ClientOptions } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

let clients: FakeClient[];
let options: ClientOptions[];
let shared: SharedClient;

beforeEach(() => {
  vi.useFakeTimers();
  [clients, options] = [[], []];
  shared = new SharedClient((chosen) => {
    options.push(chosen);
    clients.push(new FakeClient());
    return clients.at(-1)!;
  });
});

test('no client exists before the first user', () => {
  expect(shared.state.get().kind).toBe('starting');
  expect(shared.channel('a').get().phase).toBe('syncing');
  shared.retry();
  shared.refresh();
  shared.start();
  shared.stop();
  expect(clients).toEqual([]);
});

test('client starts with the first user and stops after the last', () => {
  const ends = [shared.subscribe('a', {}), shared.state.subscribe(() => {}), shared.channel('a').subscribe(() => {})];
  expect(clients.map(({ calls }) => calls)).toEqual([['start']]);
  ends.slice(1).forEach((end) => end());
  vi.runAllTimers();
  expect(clients[0]!.calls).toEqual(['start']);
  ends[0]!();
  ends[0]!();
  vi.runAllTimers();
  expect(clients[0]!.calls).toEqual(['start', 'stop']);
});

test('immediate resubscription keeps the client', () => {
  shared.subscribe('a', {})();
  const end = shared.subscribe('a', {});
  vi.runAllTimers();
  expect(clients.map(({ calls }) => calls)).toEqual([['start']]);
  end();
  vi.runAllTimers();
  shared.subscribe('a', {});
  expect(clients).toHaveLength(2);
});

test('options apply before the start only', () => {
  shared.prefer({ pollingInterval: 2000 });
  shared.prefer({ fallbackDelay: 9000 });
  shared.subscribe('a', {});
  shared.prefer({ pollingInterval: 1 });
  expect(options).toEqual([{ pollingInterval: 2000, fallbackDelay: 9000 }]);
});

test('retry and refresh reach the client', () => {
  shared.subscribe('a', {});
  shared.retry();
  shared.refresh();
  expect(clients[0]!.calls).toEqual(['start', 'retry', 'refresh']);
});

test('requests to jobs use the client until they are done', async () => {
  await shared.cancelJob('user-42', 'j1', 'wrong file');
  vi.runAllTimers();
  await shared.answerJob('user-42', 'j1', 'q1', 'yes');
  vi.runAllTimers();
  expect(clients.map(({ calls }) => calls)).toEqual([
    ['start', 'cancel user-42 j1 wrong file', 'stop'],
    ['start', 'answer user-42 j1 q1 "yes"', 'stop'],
  ]);
});

test('stop of a stream uses the client until it is done', async () => {
  await shared.stopStream('chat.1', 'm1', 'A');
  vi.runAllTimers();
  expect(clients.map(({ calls }) => calls)).toEqual([['start', 'stop chat.1 m1 A', 'stop']]);
});
