import { beforeEach, expect, test, vi } from 'vitest';
import { SharedClient } from '../../src/react/shared-client.js';
import type { ClientOptions } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

let made: FakeClient[];
let asked: ClientOptions[];
let shared: SharedClient;

beforeEach(() => {
  vi.useFakeTimers();
  [made, asked] = [[], []];
  shared = new SharedClient((options) => {
    asked.push(options);
    made.push(new FakeClient());
    return made.at(-1)!;
  });
});

test('nothing is made before somebody uses it', () => {
  expect(shared.state.get().kind).toBe('starting');
  expect(shared.channel('a').get().phase).toBe('syncing');
  shared.retry();
  shared.refresh();
  shared.start();
  shared.stop();
  expect(made).toEqual([]);
});

test('it starts with the first user and stops after the last', () => {
  const ends = [shared.subscribe('a', {}), shared.state.subscribe(() => {}), shared.channel('a').subscribe(() => {})];
  expect(made.map(({ calls }) => calls)).toEqual([['start']]);
  ends.slice(1).forEach((end) => end());
  vi.runAllTimers();
  expect(made[0]!.calls).toEqual(['start']);
  ends[0]!();
  ends[0]!();
  vi.runAllTimers();
  expect(made[0]!.calls).toEqual(['start', 'stop']);
});

test('who leaves and comes back in the same breath finds the same client', () => {
  shared.subscribe('a', {})();
  const end = shared.subscribe('a', {});
  vi.runAllTimers();
  expect(made.map(({ calls }) => calls)).toEqual([['start']]);
  end();
  vi.runAllTimers();
  shared.subscribe('a', {});
  expect(made).toHaveLength(2);
});

test('options asked for before its start count, later ones do not', () => {
  shared.prefer({ pollingInterval: 2000 });
  shared.prefer({ fallbackDelay: 9000 });
  shared.subscribe('a', {});
  shared.prefer({ pollingInterval: 1 });
  expect(asked).toEqual([{ pollingInterval: 2000, fallbackDelay: 9000 }]);
});

test('a person’s wish reaches the client', () => {
  shared.subscribe('a', {});
  shared.retry();
  shared.refresh();
  expect(made[0]!.calls).toEqual(['start', 'retry', 'refresh']);
});
