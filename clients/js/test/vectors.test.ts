/** Vectors that the Python and TypeScript clients both replay; see tests/vectors/README.md. */

import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { delay } from '../src/machine/backoff.js';
import { PollSchedule } from '../src/machine/poll-schedule.js';
import type { Command, Terms } from '../src/machine/commands.js';
import { readEvent } from '../src/messages.js';
import { DEFAULT_TIMING } from '../src/machine/timing.js';
import { checkIntervals } from '../src/machine/options.js';
import { Machine } from '../src/machine/machine.js';
import type { JobData } from '../src/payloads.js';
import { reduceJobs, type Jobs } from '../src/react/jobs.js';
import { foldGroup, foldStream, UNKNOWN_STREAM } from '../src/streams/fold.js';
import { MemberList } from '../src/presence/member-list.js';
import { Reducer } from '../src/channels/reducer.js';
import type { Output } from '../src/channels/reducer.js';
import { connectionStatus } from '../src/machine/status.js';
import type { RealtimeEvent, ResetReason, StreamState } from '../src/types.js';
import { userChannel } from '../src/user-channel.js';
import { camel, camelKeys, snakeKeys } from './support/names.js';
import { replayForm } from './support/forms.js';
import type { Fields } from './support/names.js';
import { replayShell } from './support/shell.js';

const FOLDER = new URL('../../../tests/vectors/', import.meta.url);

/** Replays one vector; `file` is the content of its file. */
type Replay = (vector: Fields, file: Fields) => void | Promise<void>;

const REPLAYS: Record<string, Replay> = {
  'backoff.json': ({ given: { attempt, draw, ...rest }, seconds }) =>
    expect(delay(attempt, draw, rest)).toBe(seconds),
  'poll_schedule.json': replayPollSchedule,
  'jobs.json': replayJobs,
  'options.json': replayOptions,
  'presence.json': replayPresence,
  'machine.json': replayMachine,
  'reducer.json': replayReducer,
  'shell.json': (vector, { starts }) => replayShell(vector, starts),
  'status.json': replayMachine,
  'streams.json': ({ steps, or = steps }) => expect(replayStream(steps)).toEqual(replayStream(or)),
  'stream_forms.json': replayForm,
  'traceparent.json': ({ given, kept }) =>
    expect(readEvent({ channel: 'job.7', event: 'job.step', id: 'e1', traceparent: given })).toEqual({
      channel: 'job.7',
      event: 'job.step',
      id: 'e1',
      data: null,
      ...(kept && { traceparent: given }),
    }),
  'user_channel.json': ({ user, channel }) =>
    channel ? expect(userChannel(user)).toBe(channel) : expect(() => userChannel(user)).toThrow(),
  'timing.json': ({ both, typescript }) => expect(snakeKeys({ ...DEFAULT_TIMING })).toEqual({ ...both, ...typescript }),
};

const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

it('every file of vectors is replayed', () => {
  expect(files.sort()).toEqual(Object.keys(REPLAYS).sort());
});

describe.each(files)('%s', (file) => {
  const content = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));
  const vectors: Fields[] = Array.isArray(content) ? content : content.vectors;
  it.each(vectors.map((vector) => [vector.name, vector] as const))('%s', async (_, vector) => {
    expect(REPLAYS[file]).toBeDefined();
    await REPLAYS[file]?.(vector, content);
  });
});

function replayPresence({ steps }: Fields): void {
  const list = new MemberList();
  for (const step of steps) {
    const { at, snapshot, event } = step;
    const changes = snapshot ? list.load(snapshot, at) : event ? list.handle(event, at) : list.tick(at);
    expect(changes.map(({ kind, member }) => [kind, member.user]), JSON.stringify(step)).toEqual(step.changes);
    const { members, count } = list;
    expect({ members, count }, JSON.stringify(step)).toMatchObject({ members, count, ...shown(step) });
    expect(list.nextChange).toBeGreaterThan(at);
  }
}

function shown({ members, count }: Fields): Fields {
  return { ...(members && { members }), ...(count !== undefined && { count }) };
}

function replayMachine({ options = {}, steps }: Fields): void {
  const machine = new Machine(camelKeys(options));
  steps.forEach((step: Fields, number: number) => {
    const where = `step ${number}: ${JSON.stringify(step)}, timers ${JSON.stringify([...machine.timers])}`;
    if ('input' in step) expect(give(machine, step), where).toEqual(step.commands);
    for (const name of ['mode', 'wake_at', 'polling']) {
      if (name in step) expect((machine as Fields)[camel(name)], where).toBe(step[name]);
    }
    expect(connectionStatus(machine, step.at), where).toMatchObject(step.status ?? {});
  });
}

const NUMBERS: Fields = { NaN, Infinity, '-Infinity': -Infinity, never: Infinity };

function replayOptions({ given, valid, replaced }: Fields): void {
  const read = (fields: Fields) =>
    Object.fromEntries(Object.entries(camelKeys(fields)).map(([name, value]) => [name, NUMBERS[value] ?? value]));
  const [intervals, problems] = checkIntervals(read(given));
  expect(intervals).toEqual(read(valid));
  expect(problems.map((problem) => problem.split(' ')[0])).toEqual(replaced.map(camel));
}

const NEW_JOB: JobData = {
  job: 'a1',
  title: 'Transcribe call.mp3',
  state: 'queued',
  progress: null,
  stage: null,
  message: null,
  error: null,
  retry_at: null,
  eta: null,
  parent: null,
  cancellable: null,
  question: null,
  result: null,
  by: null,
  version: 0,
};

function replayJobs({ steps, shown }: Fields): void {
  let jobs: Jobs = [];
  let data = NEW_JOB;
  for (const step of steps as Fields[]) {
    for (const { event, ...changes } of step.updates) {
      data = { ...data, ...changes };
      jobs = reduceJobs(jobs, { channel: 'user-42', event, id: event, key: 'job-a1', data });
    }
    expect(jobs[0], JSON.stringify(step)).toMatchObject(step.shown ?? {});
  }
  expect(jobs).toMatchObject([shown]);
}

function replayStream(steps: Fields[]): StreamState<unknown> {
  const eventOf = (fields: Fields): RealtimeEvent =>
    ({ channel: 'chat.1', event: 'stream.part', key: 'stream-m1', ...fields }) as RealtimeEvent;
  return steps.reduce<StreamState<unknown>>((before, { event, group, shown = {} }) => {
    const state = group ? foldGroup(before, group.map(eventOf)) : foldStream(before, eventOf(event));
    const { id, ...fields } = state;
    expect(snakeKeys({ stream: id, ...fields }), JSON.stringify(event ?? group)).toMatchObject(shown);
    return state;
  }, UNKNOWN_STREAM);
}

/** Return the jobs after the events that a log accepted; events of a run have all of its data. */
function afterSteps(steps: Fields[], before: Jobs = []): Jobs {
  let jobs = before;
  for (const { input, events } of steps) {
    if (input === 'lose') jobs = [];
    for (const { data, ...event } of events) {
      const isWhole = !['note', 'lapse'].includes(event.fold);
      const rest = { channel: 'user-42', id: event.event, key: 'job-a1', data: isWhole ? { ...NEW_JOB, ...data } : data };
      jobs = reduceJobs(jobs, { ...event, ...rest });
    }
  }
  return jobs;
}

const { cells, states, stories } = JSON.parse(readFileSync(new URL('jobs.json', FOLDER), 'utf8'));

test.each((cells as Fields[]).map((cell) => [cell.name, cell] as const))('job: %s', (_, cell) => {
  const jobs = afterSteps([cell], afterSteps(states[cell.from]));
  expect(jobs).toMatchObject(cell.shown ? [cell.shown] : []);
});

test.each((stories as Fields[]).map((story) => [story.name, story] as const))('job: %s', (_, { steps, shown }) => {
  expect(afterSteps(steps)).toMatchObject([shown]);
});

const DEFAULT_TERMS: Terms = {
  mode: 'realtime',
  heartbeat: 10_000,
  maxAge: null,
  generation: 0,
  expires: 600_000,
};

/** Positional arguments of inputs; Python passes them by name. `*` stands for an object with the rest. */
const POSITIONAL: Record<string, string[]> = {
  start: ['cached'],
  descriptor_received: ['terms'],
  descriptor_failed: ['status', 'code', 'retry_after', 'message'],
  opened: ['socket'],
  ready: ['socket'],
  message_received: ['socket'],
  closed: ['socket', 'code', 'reason', 'message'],
  drain: ['socket', 'after', 'window'],
  generation: ['generation'],
  health: ['socket', '*'],
  clock_changed: ['socket'],
  answer_overdue: ['socket'],
  answered: ['socket', '*'],
  answer_missing: ['socket'],
};

function give(machine: Machine, { at, draw = 0.5, input, args = {} }: Fields): Fields[] {
  machine.at(at, draw);
  const method = (machine as Fields)[camel(input)].bind(machine);
  const names = POSITIONAL[input];
  const terms = (name: string, value: Fields) =>
    name === 'terms' || name === 'cached' ? { ...DEFAULT_TERMS, ...camelKeys(value) } : value;
  const done = () => machine.take().map(withoutNulls);
  if (!names) {
    method(camelKeys(args));
    return done();
  }
  if (!names.includes('*')) expect(names, input).toEqual(expect.arrayContaining(Object.keys(args)));
  const all: Fields = { ...args, '*': camelKeys(args) };
  method(...names.map((name) => (name in all ? terms(name, all[name]) : undefined)));
  return done();
}

function withoutNulls(command: Command): Fields {
  return Object.fromEntries(Object.entries(command).filter(([, value]) => value !== null));
}

function replayPollSchedule({ polling_interval, steps }: Fields): void {
  const pollSchedule: Fields = new PollSchedule(polling_interval, DEFAULT_TIMING);
  const queries: Record<string, (args: Fields) => number> = {
    interval: ({ now }) => pollSchedule.interval(now),
    next: ({ now, draw }) => pollSchedule.next(now, draw),
    soon: ({ now, draw, within }) => pollSchedule.soon(now, draw, within),
  };
  const inputs: Record<string, (args: Fields) => void> = {
    begin: () => pollSchedule.begin(),
    answered: ({ requested }) => pollSchedule.answered(requested),
    failed: ({ now, draw, status = null, retry_after = null }) =>
      pollSchedule.failed(now, draw, { status, retryAfter: retry_after }),
    event_received: ({ now }) => pollSchedule.eventReceived(now),
  };
  const allowed = new Set(['hidden', 'offline', 'input', 'args', 'usual', 'in_flight', ...Object.keys(queries)]);
  steps.forEach((step: Fields, number: number) => {
    const where = `step ${number}: ${JSON.stringify(step)}`;
    expect(Object.keys(step).filter((name) => !allowed.has(name)), where).toEqual([]);
    for (const name of ['hidden', 'offline']) if (name in step) pollSchedule[name] = step[name];
    if ('input' in step) inputs[step.input]!(step.args ?? {});
    for (const [name, query] of Object.entries(queries)) {
      if (name in step) expect(query(step[name]), where).toBe(step[name].gives);
    }
    for (const name of ['usual', 'in_flight']) {
      if (name in step) expect(pollSchedule[camel(name)], where).toBe(step[name]);
    }
  });
}

function replayReducer({ client = null, position = null, steps }: Fields): void {
  const reducer = new Reducer({ client, position });
  steps.forEach((step: Fields, number: number) => {
    const where = `step ${number}: ${JSON.stringify(step)}`;
    expect(take(reducer, step).map(output), where).toEqual(step.expect);
    if ('phase' in step) expect(reducer.phase, where).toBe(step.phase);
    if ('position' in step) expect(reducer.position, where).toEqual(step.position);
  });
}

function take(reducer: Reducer, step: Fields): Output[] {
  if (step.event) return reducer.event(event(step.event));
  if (step.start) return reducer.start(step.start);
  if (step.reset) {
    const { reason, top, asked } = step.reset;
    return reducer.reset(reason as ResetReason, top ?? null, asked ?? null);
  }
  if ('announced' in step) return reducer.announced(step.announced);
  if (step.page) {
    const { events, top, more } = step.page;
    return reducer.page({ events: events.map(event), top, more: more ?? false });
  }
  expect(step.interrupted).toBe(true);
  reducer.interrupted();
  return [];
}

function event({ epoch, offset, id, ...rest }: Fields): RealtimeEvent {
  const position = epoch === undefined ? {} : { position: { epoch, offset, id } };
  return { channel: 'job.7', event: 'job.step', data: null, id, ...position, ...rest };
}

function output(result: Output): Fields {
  if (result.do === 'deliver') return { deliver: result.event.id };
  if (result.do === 'recover') return { recover: result.after };
  return { restart: result.reason, position: result.position };
}
