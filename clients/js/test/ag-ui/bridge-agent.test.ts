/** Agent of AG-UI, with the pipeline of its SDK. */

import { EventType } from '@ag-ui/client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BridgeAgent } from '../../src/ag-ui/index.js';
import { FakeClient } from '../react/fake-client.js';
import { CHANNEL, StreamEvents } from '../support/stream-events.js';

let client: FakeClient;
let agent: BridgeAgent;
let bodies: any[];

beforeEach(() => {
  client = new FakeClient();
  bodies = [];
  vi.stubGlobal('fetch', async (_url: string, { body }: RequestInit) => {
    bodies.push(JSON.parse(body as string));
    return Response.json({ channel: CHANNEL, stream: 'm1' });
  });
  vi.spyOn(console, 'error').mockImplementation(() => {});
  agent = new BridgeAgent({ client, url: '/api/agent', channelOf: () => CHANNEL, threadId: 't1' });
  agent.messages = [{ id: 'q1', role: 'user', content: 'Why?' }];
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const texts = (): unknown[] => agent.messages.map(({ content }) => content);

async function listening(count = 1): Promise<void> {
  await vi.waitFor(() => expect(client.live).toHaveLength(count));
}

it('text of the worker becomes the message of a run', async () => {
  const run = agent.runAgent();
  await listening();
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because ', 'of ');
  await vi.waitFor(() => expect(texts()).toEqual(['Why?', 'Because of ']));
  writer.append('this.');
  writer.end('completed');
  const { newMessages } = await run;
  expect(newMessages).toEqual([{ id: 'm1', role: 'assistant', content: 'Because of this.' }]);
  expect(bodies[0]).toMatchObject({ threadId: 't1', messages: [{ id: 'q1' }] });
  expect(client.live).toEqual([]);
});

it('events of the worker are the events of the run', async () => {
  const run = agent.runAgent();
  await listening();
  const writer = new StreamEvents(client, 'a1', 'ag-ui');
  const { threadId, runId } = bodies[0];
  writer.begin();
  writer.append(
    { type: EventType.RUN_STARTED, threadId, runId },
    { type: EventType.STATE_SNAPSHOT, snapshot: { step: 1 } },
    { type: EventType.TEXT_MESSAGE_START, messageId: 'x', role: 'assistant' },
    { type: EventType.TEXT_MESSAGE_CONTENT, messageId: 'x', delta: 'Because.' },
    null,
    { type: EventType.TEXT_MESSAGE_END, messageId: 'x' },
    { type: EventType.RUN_FINISHED, threadId, runId, result: 7 },
  );
  writer.end('completed');
  expect((await run).result).toBe(7);
  expect(texts()).toEqual(['Why?', 'Because.']);
  expect(agent.state).toEqual({ step: 1 });
});

it('page that was reloaded gets the run from its beginning, in place of what it has', async () => {
  agent.messages.push({ id: 'm1', role: 'assistant', content: 'Nonsense' });
  const run = agent.connectAgent();
  await listening();
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because.');
  client.snapshot(CHANNEL, [writer.events[0]!]);
  await vi.waitFor(() => expect(client.subscriptions).toHaveLength(2));
  client.snapshot(CHANNEL, writer.events);
  writer.end('completed');
  await run;
  expect(texts()).toEqual(['Why?', 'Because.']);
});

it('there is no run to connect to in an empty channel', async () => {
  const run = agent.connectAgent();
  await listening();
  client.snapshot(CHANNEL);
  await run;
  expect(texts()).toEqual(['Why?']);
});

it('stopped stream cancels the run', async () => {
  const outcomes: unknown[] = [];
  agent.subscribe({ onRunFinishedEvent: ({ outcome }) => void outcomes.push(outcome) });
  const run = agent.clone().runAgent(); // as frameworks do
  await listening();
  const writer = new StreamEvents(client, 'a1', 'ag-ui');
  const { threadId, runId } = bodies[0];
  writer.begin();
  writer.append(
    { type: EventType.RUN_STARTED, threadId, runId },
    { type: EventType.STEP_STARTED, stepName: 'think' },
    { type: EventType.TEXT_MESSAGE_START, messageId: 'x', role: 'assistant' },
  );
  writer.end('stopped');
  await run;
  expect(outcomes).toEqual(['cancelled']);
});

it('abort stops the stream for all', async () => {
  agent.abortRun(); // no run: nothing to stop
  const run = agent.runAgent();
  await listening();
  const writer = new StreamEvents(client);
  writer.begin();
  agent.abortRun();
  await vi.waitFor(() => expect(client.calls).toEqual([`stop ${CHANNEL} m1 a1`]));
  writer.end('stopped');
  await run;
});

it('abort before the application answers stops the stream once it begins', async () => {
  let answer: ((response: Response) => void) | undefined;
  vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => (answer = resolve)));
  const run = agent.runAgent();
  await vi.waitFor(() => expect(answer).toBeDefined());
  agent.abortRun();
  answer?.(Response.json({ channel: CHANNEL, stream: 'm1' }));
  await vi.waitFor(() => expect(client.live).not.toEqual([]));
  expect(client.calls).toEqual([]);
  const writer = new StreamEvents(client);
  writer.begin();
  await vi.waitFor(() => expect(client.calls).toEqual([`stop ${CHANNEL} m1 a1`]));
  writer.end('stopped');
  await run;
  expect(client.live).toEqual([]);
});

it('run whose parts expired is an error', async () => {
  const errors: string[] = [];
  agent.subscribe({ onRunErrorEvent: ({ event }) => void errors.push(event.message) });
  const run = agent.runAgent();
  await listening();
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('a');
  writer.skip();
  writer.append('c');
  await run;
  expect(errors).toEqual(['Parts of this answer are no longer kept: load it from the application']);
});

it('another attempt and another format are errors of the run', async () => {
  const run = agent.runAgent();
  await listening();
  const dead = new StreamEvents(client, 'dead');
  dead.begin();
  dead.append('Nonsense');
  await vi.waitFor(() => expect(texts()).toEqual(['Why?', 'Nonsense']));
  new StreamEvents(client, 'a2').begin();
  await expect(run).rejects.toThrow('another attempt began stream m1 again');

  const next = agent.runAgent();
  await listening();
  new StreamEvents(client, 'a3', 'json').begin();
  await expect(next).rejects.toThrow('Stream m1 has the format json');
});

it('failed run has the error of the worker', async () => {
  const errors: string[] = [];
  agent.subscribe({ onRunErrorEvent: ({ event }) => void errors.push(event.message) });
  const run = agent.runAgent();
  await listening();
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because ');
  writer.end('failed', 'No credit');
  await run;
  expect(errors).toEqual(['No credit']);
});
