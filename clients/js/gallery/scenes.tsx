/** Scenes with every visible state of the components, with a scripted client. */

import type { ReactElement } from 'react';
import { ConnectionBadge, ProcessingWidget, RealtimeProvider } from '../src/react/index.js';
import type { ClientState, RealtimeEvent, Transition } from '../src/types.js';
import { FakeClient } from '../test/react/fake-client.js';

const CHANNEL = 'user-42';
const NOW = Date.now();

type JobEvent = readonly [event: string, data: Record<string, unknown>];

interface Act {
  readonly jobs?: readonly JobEvent[];
  readonly live?: readonly JobEvent[];
  readonly state?: Partial<ClientState>;
  readonly refused?: string;
  readonly loading?: boolean;
  readonly debug?: boolean;
}

const REALTIME: Partial<ClientState> = {
  kind: 'realtime',
  label: 'Real-time',
  mode: 'LIVE',
  transport: 'websocket',
  updateSource: 'websocket',
  websocketStatus: 'connected',
  user: '42',
  client: 'c_8f27c1d09be44a1f9a53',
  generation: 7,
  lastSync: NOW,
};

const POLLING: Partial<ClientState> = {
  ...REALTIME,
  kind: 'polling',
  label: 'Polling',
  mode: 'FALLBACK',
  reason: 'the socket went silent',
  transport: 'poll',
  updateSource: 'polling',
  websocketStatus: 'disconnected',
  attempts: 2,
};

const OFFLINE: Partial<ClientState> = { ...POLLING, kind: 'offline', label: 'Offline', reason: 'the socket closed with 1006', lastSync: NOW - 42_000 };

const BADGES: readonly (readonly [string, Partial<ClientState>])[] = [
  ['starting', { kind: 'starting', label: '', mode: 'BOOT' }],
  ['connecting', { kind: 'connecting', label: 'Connecting', mode: 'CONNECTING' }],
  ['realtime', REALTIME],
  ['polling', POLLING],
  ['paused', { kind: 'paused', label: 'Paused', mode: 'PAUSED' }],
  ['offline', OFFLINE],
  ['error, 401', { kind: 'error', label: 'Error', mode: 'DENIED', reason: 'no descriptor: 401' }],
  ['error, 403', { kind: 'error', label: 'Error', mode: 'DENIED', reason: 'closed with 4403: forbidden' }],
];

const JOBS: readonly JobEvent[] = [
  ['job.completed', { job: 'j1', title: 'quarterly-report.pdf', bytes_total: 4_812_000 }],
  ['job.cancelled', { job: 'j2', title: 'draft-notes.docx', percent: 12, message: 'Cancelled by you' }],
  ['job.progress', { job: 'j3', title: 'customers-2026.csv', percent: 63, bytes_done: 5_120_000, bytes_total: 8_130_000 }],
  ['job.failed', { job: 'j3', stage: 'Checking rows', error: 'Row 48 213 has 9 columns where 12 were expected.' }],
  ['job.progress', { job: 'j4', title: 'Nightly sync with the warehouse', percent: 35 }],
  ['job.retrying', { job: 'j4', stage: 'Attempt 2 of 5', error: 'The warehouse did not answer in time.', retry_at: NOW + 45_000 }],
  ['job.started', { job: 'j5', title: 'Rebuild search index', stage: 'Counting documents' }],
  ['job.progress', { job: 'j6', title: 'interview-with-a-rather-long-file-name-2026-11-22-final-version.mp3', percent: 41.7, stage: 'Aligning', bytes_done: 31_200_000, bytes_total: 74_900_000, eta: 130 }],
  ['job.queued', { job: 'j7', title: 'keynote.mov' }],
];

const ENDS: readonly JobEvent[] = [
  ['job.completed', { job: 'j6' }],
  ['job.failed', { job: 'j5', error: 'The disk of the search node is full.' }],
];

const TRANSITIONS: readonly Transition[] = [
  [-61_000, 'IDLE', 'BOOT', null],
  [-60_800, 'BOOT', 'CONNECTING', null],
  [-60_700, 'CONNECTING', 'PROBING', null],
  [-60_600, 'PROBING', 'LIVE', null],
  [-21_000, 'LIVE', 'SUSPECT', null],
  [-18_000, 'SUSPECT', 'FALLBACK', 'the socket went silent'],
].map(([at, from, to, reason]) => ({ at: NOW + (at as number), from, to, reason }) as Transition);

const ACTS: Record<string, Act> = {
  'widget-jobs': { jobs: JOBS },
  'widget-polling': { jobs: JOBS.slice(4), state: POLLING },
  'widget-offline': { jobs: JOBS.slice(4), state: OFFLINE },
  'widget-refused': { refused: 'forbidden', state: REALTIME },
  'widget-empty': { jobs: [] },
  'widget-loading': { loading: true, state: { kind: 'starting', label: '', mode: 'BOOT' } },
  'widget-notices': { jobs: JOBS.slice(6), live: ENDS },
  'debug-realtime': { jobs: JOBS.slice(7), debug: true, state: { ...REALTIME, transitions: TRANSITIONS.slice(0, 4) } },
  'debug-polling': { jobs: JOBS.slice(7), debug: true, state: { ...POLLING, transitions: TRANSITIONS } },
};

export const SCENES: readonly string[] = ['badge', ...Object.keys(ACTS)];

export function Scene({ name }: { readonly name: string }): ReactElement {
  const act = ACTS[name];
  if (!act) return <Badges />;
  const client = new FakeClient();
  setTimeout(() => play(client, act), 50);
  return (
    <div className={`scene wide ${act.live ? 'tall' : ''}`} data-scene={name}>
      <RealtimeProvider client={client}>
        <ProcessingWidget userId={42} title="Processing" debug={act.debug ?? false} />
      </RealtimeProvider>
    </div>
  );
}

function play(client: FakeClient, act: Act): void {
  client.show(act.state ?? REALTIME);
  if (act.refused) client.channel(CHANNEL).merge({ error: act.refused });
  if (act.loading || act.refused) return;
  client.snapshot(CHANNEL, []);
  client.snapshot(CHANNEL, (act.jobs ?? []).map((event, index) => eventOf(client, event, index)));
  for (const [event, data] of act.live ?? []) client.emit(CHANNEL, event, data, { time: Date.now() });
}

function eventOf(client: FakeClient, [event, data]: JobEvent, index: number): RealtimeEvent {
  return client.event(CHANNEL, event, data, { time: NOW - 90_000 + index * 1_000, key: `job-${String(data['job'])}` });
}

function Badges(): ReactElement {
  return (
    <div className="scene badges" data-scene="badge">
      {BADGES.map(([name, state]) => (
        <BadgeRow key={name} name={name} state={state} />
      ))}
    </div>
  );
}

function BadgeRow({ name, state }: { readonly name: string; readonly state: Partial<ClientState> }): ReactElement {
  const client = new FakeClient();
  client.show(state);
  return (
    <>
      <code>{name}</code>
      <RealtimeProvider client={client}>
        <ConnectionBadge />
      </RealtimeProvider>
    </>
  );
}
