import { describe, expect, test } from 'vitest';
import { nest, withMean } from '../../src/react/job-tree.js';
import { MAX_ENDED, MAX_PARTS, foremost, justEnded, loadJobs, reduceJobs, type Job, type Jobs } from '../../src/react/jobs.js';
import type { RealtimeEvent } from '../../src/types.js';

const NOW = 1_763_836_800_000;

function event(name: string, data: unknown = {}, more: Partial<RealtimeEvent> = {}): RealtimeEvent {
  return { channel: 'user-42', event: name, id: 'e1', data, time: NOW, ...more };
}

function fold(...events: RealtimeEvent[]): Jobs {
  return events.reduce<Jobs>(reduceJobs, []);
}

function only(...events: RealtimeEvent[]): Job {
  const jobs = fold(...events);
  expect(jobs).toHaveLength(1);
  return jobs[0]!;
}

describe('job states', () => {
  test('job is queued, runs and completes', () => {
    const queued = event('job.queued', { job: 'a1', title: 'call.mp3' });
    const running = event('job.progress', { job: 'a1', percent: 30, stage: 'Aligning' });
    expect(only(queued)).toMatchObject({ id: 'a1', title: 'call.mp3', state: 'queued', percent: null });
    expect(only(queued, running)).toMatchObject({ state: 'running', percent: 30, stage: 'Aligning', title: 'call.mp3' });
    const completed = only(queued, running, event('job.completed', { job: 'a1' }));
    expect(completed).toMatchObject({ state: 'completed', percent: 100, updatedAt: NOW });
  });

  test('ended job ignores later states', () => {
    const done = event('job.completed', { job: 'a1' });
    for (const late of ['job.progress', 'job.queued', 'job.failed', 'job.retrying']) {
      expect(only(done, event(late, { job: 'a1', percent: 10 }))).toMatchObject({ state: 'completed', percent: 100 });
    }
  });

  test('start after the end is a new run without the former progress', () => {
    const failed = [event('job.progress', { job: 'a1', percent: 40 }), event('job.failed', { job: 'a1', error: 'timeout' })];
    const again = event('job.started', { job: 'a1' });
    expect(only(...failed, again)).toMatchObject({ state: 'running', percent: null, error: null });
    expect(only(...failed, again, event('job.completed', { job: 'a1' }))).toMatchObject({ state: 'completed' });
  });

  test('unchanged jobs keep the list', () => {
    const jobs = fold(event('job.completed', { job: 'a1' }));
    expect(reduceJobs(jobs, event('job.progress', { job: 'a1' }))).toBe(jobs);
    expect(reduceJobs(jobs, event('message.new', { job: 'a1' }))).toBe(jobs);
  });

  const log = (offset: number): Partial<RealtimeEvent> => ({ position: { epoch: 'k', offset } });

  test.each([
    ['a log', log],
    ['signal mode', () => ({})],
  ])('order of %s decides, not the clocks of the hosts', (_, at) => {
    const queued = event('job.queued', { job: 'a1', version: 90_000 }, at(1));
    const started = event('job.started', { job: 'a1', version: 20_000 }, at(2));
    const retrying = event('job.retrying', { job: 'a1', version: 20_001 }, at(3));
    const again = event('job.started', { job: 'a1', version: 10_000 }, at(4));
    expect(only(queued, started).state).toBe('running');
    expect(only(queued, started, retrying, again).state).toBe('running');
    expect(only(queued, started, event('job.completed', { job: 'a1', version: 3 }, at(5))).state).toBe('completed');
  });

  test('queued after the start is ignored', () => {
    const late = event('job.queued', { job: 'a1', title: 'call.mp3', version: 9 });
    for (const known of ['job.started', 'job.retrying', 'job.completed', 'job.cancelled']) {
      const before = fold(event(known, { job: 'a1', version: 1 }));
      expect(reduceJobs(before, late)).toBe(before);
    }
  });

  test('retry shows its time, and the next attempt starts empty', () => {
    const retrying = event('job.retrying', { job: 'a1', error: 'timeout', retry_at: '2025-11-22T18:40:10Z' });
    const at = Date.parse('2025-11-22T18:40:10Z');
    expect(only(retrying)).toMatchObject({ state: 'retrying', error: 'timeout', retryAt: at });
    const again = only(event('job.progress', { job: 'a1', percent: 90 }), retrying, event('job.started', { job: 'a1' }));
    expect(again).toMatchObject({ state: 'running', error: null, retryAt: null, percent: null });
  });

  test('null clears a value, an absent field keeps it', () => {
    const running = event('job.progress', { job: 'a1', stage: 'Reading', message: 'page 3' });
    expect(only(running, event('job.progress', { job: 'a1', stage: null }))).toMatchObject({ stage: null, message: 'page 3' });
  });

  test('removed job leaves the list', () => {
    expect(fold(event('job.queued', { job: 'a1' }), event('job.deleted', { job: 'a1' }))).toEqual([]);
  });
});

describe('captured table row', () => {
  const row = (operation: string, status: string, more: object = {}): RealtimeEvent =>
    event(`job.${operation}`, { id: 7, title: 'call.mp3', status, ...more }, { key: 'job-7' });

  test('row defines the job', () => {
    const created = { created_at: '2025-11-22T18:40:10.123456+00:00' };
    expect(only(row('insert', 'queued', created))).toMatchObject({ id: '7', title: 'call.mp3', state: 'queued' });
    const columns = { ...created, progress: 0.3, stage: 'Aligning', message: null, error: null };
    const running = only(row('insert', 'queued', created), row('update', 'running', columns));
    expect(running).toMatchObject({ state: 'running', percent: 30, createdAt: Date.parse(created.created_at) });
    expect(only(row('update', 'failed', { error: 'disk full' }))).toMatchObject({ state: 'failed', error: 'disk full' });
  });

  test('row can restart an ended job', () => {
    const ended = fold(row('insert', 'queued'), row('update', 'failed', { error: 'disk full' }));
    const again = row('update', 'queued', { error: null });
    expect(reduceJobs(ended, again)).toMatchObject([{ state: 'queued', error: null }]);
    expect(loadJobs(ended, [again])).toMatchObject([{ state: 'queued', error: null }]);
  });

  test('deleted row removes the job in any state', () => {
    for (const status of ['running', 'completed']) {
      expect(fold(row('insert', 'queued'), row('update', status), row('delete', status))).toEqual([]);
    }
    expect(loadJobs(fold(row('insert', 'completed')), [row('delete', 'completed')])).toEqual([]);
  });
});

describe('names and units of producers', () => {
  test.each([
    [{ percent: 30 }, 30],
    [{ progress: 0.3 }, 30],
    [{ progress: 1 }, 100],
    [{ progress: 30 }, 30],
    [{ percent: '30 %' }, 30],
    [{ percent: 140 }, 100],
    [{ bytes_done: 300, bytes_total: 1000 }, 30],
    [{ current: 3, total: 10 }, 30],
    [{ done: 3, total: 10 }, 30],
    [{ progress: 'soon' }, null],
    [{ percent: null }, null],
    [{}, null],
  ])('%j is so many percent', (data, percent) => {
    expect(only(event('job.progress', { job: 'a1', ...data })).percent).toBe(percent);
  });

  test.each([
    [{ retry_at: NOW + 5000 }],
    [{ retry_at: (NOW + 5000) / 1000 }],
    [{ retry_time: new Date(NOW + 5000).toISOString() }],
    [{ retry_time: 5 }],
    [{ retry_in: 5 }],
    [{ countdown: '5' }],
  ])('%j is five seconds from now', (data) => {
    expect(only(event('job.retrying', { job: 'a1', ...data })).retryAt).toBe(NOW + 5000);
  });

  test.each([
    ['its data', event('job.started', { job: 'a1' }, { key: 'job-a1' })],
    ['its key', event('job.started', {}, { key: 'job-a1' })],
    ['a number', event('job.started', { job_id: 1 })],
    ['an object', event('job.started', { job: { id: 'a1' } })],
    ['Celery', event('job.started', { task_id: 'a1' })],
  ])('job id comes from %s', (_, started) => {
    expect(only(started).id).toMatch(/^(a1|1)$/);
  });

  test.each([
    ['job.succeeded', {}, 'completed'],
    ['job.canceled', {}, 'cancelled'],
    ['job.update', { status: 'processing' }, 'running'],
    ['job.insert', { status: 'PENDING' }, 'queued'],
    ['job.update', { status: 'done' }, 'completed'],
    ['job.update', {}, 'queued'],
  ])('%s with %j is %s', (name, data, state) => {
    expect(only(event(name, { id: 'a1', ...data })).state).toBe(state);
  });

  test('error is a text or an object', () => {
    expect(only(event('job.failed', { job: 'a1', error: 'disk full' })).error).toBe('disk full');
    expect(only(event('job.failed', { job: 'a1', error: { type: 'E', message: 'disk full' } })).error).toBe('disk full');
  });

  test.each([[null], [7], ['text'], [[]], [{ job: '' }], [{ job: { id: null } }]])('data %j is ignored', (data) => {
    expect(fold(event('job.progress', data))).toEqual([]);
  });
});

describe('many jobs', () => {
  const started = (id: number): RealtimeEvent => event('job.started', { job: id });
  const done = (id: number): RealtimeEvent => event('job.completed', { job: id });

  test('active jobs are all kept, ended jobs are limited', () => {
    const numbers = Array.from({ length: MAX_ENDED + 50 }, (_, number) => number);
    const jobs = fold(started(-1), ...numbers.map(done));
    expect(jobs).toHaveLength(MAX_ENDED + 1);
    expect(jobs.at(-1)).toMatchObject({ id: '-1', state: 'running' });
  });

  test('ended parts of an active job are kept until it ends', () => {
    const part = (id: number) => event('job.completed', { job: id, parent: '-1' });
    const numbers = Array.from({ length: 2 * MAX_ENDED }, (_, number) => number);
    const jobs = fold(started(-1), ...numbers.map(part), event('job.started', { job: 'last', parent: '-1' }));
    const { job, parts } = nest(jobs)[0]!;
    expect(withMean(job, parts).percent).toBeCloseTo((100 * 200) / 201);
    expect([done(-1)].reduce<Jobs>(reduceJobs, jobs)).toHaveLength(MAX_ENDED + 1);
    expect(fold(started(-1), ...Array.from({ length: MAX_PARTS + 1 }, (_, number) => part(number)))).toHaveLength(MAX_PARTS + 1);
  });

  test('job that ends after a hundred newer ones is kept', () => {
    const after = (at: number, ended: RealtimeEvent): RealtimeEvent => ({ ...ended, time: NOW + at });
    const newer = Array.from({ length: MAX_ENDED }, (_, number) => after(number, done(number)));
    const jobs = fold(started(-1), ...newer, after(MAX_ENDED, done(-1)));
    expect(jobs).toHaveLength(MAX_ENDED);
    expect(jobs.find(({ id }) => id === '-1')).toMatchObject({ state: 'completed' });
    expect(jobs.find(({ id }) => id === '0')).toBeUndefined();
    expect(loadJobs([], [started(-1), ...newer, after(MAX_ENDED, done(-1))]).at(-1)).toMatchObject({ id: '-1' });
  });

  test('ended job without a time is kept when it has just ended', () => {
    const timeless = ({ time: _, ...ended }: RealtimeEvent): RealtimeEvent => ended;
    const numbers = Array.from({ length: MAX_ENDED }, (_, number) => number);
    const jobs = fold(started(-1), ...numbers.map((number) => timeless(done(number))), timeless(done(-1)));
    expect(jobs.some(({ id }) => id === '-1')).toBe(true);
  });

  test('active jobs come before ended ones', () => {
    const jobs = fold(started(1), done(2), done(3), started(4));
    expect(foremost(jobs, 3).map(({ id }) => id)).toEqual(['4', '3', '1']);
  });

  test('snapshot replaces active jobs and keeps ended ones', () => {
    const before = fold(started(1), started(2), done(3));
    const after = loadJobs(before, [done(1), event('job.progress', { job: 4, percent: 5 })]);
    expect(new Map(after.map(({ id, state }) => [id, state]))).toEqual(
      new Map([['1', 'completed'], ['3', 'completed'], ['4', 'running']]),
    );
    expect(justEnded(before, after, { unknown: false }).map(({ id }) => id)).toEqual(['1']);
  });

  test('snapshot changes an ended job by a later event alone', () => {
    const at = (time: number, name: string): RealtimeEvent => event(name, { job: 1 }, { time: NOW + time });
    const ended = fold(at(5, 'job.failed'));
    expect(loadJobs(ended, [at(9, 'job.progress')])).toMatchObject([{ state: 'running' }]);
    expect(loadJobs(ended, [at(4, 'job.progress')])).toMatchObject([{ state: 'failed' }]);
  });

  test('snapshot is sorted by age', () => {
    const at = (id: string, offset: number): RealtimeEvent =>
      event('job.started', { job: id }, { time: NOW + offset, position: { epoch: 'k', offset } });
    expect(loadJobs([], [at('b', 2), at('c', 3), at('a', 1)]).map(({ id }) => id)).toEqual(['c', 'b', 'a']);
  });
});
