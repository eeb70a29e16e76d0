/** Scenes with every visible state of the components, with a scripted client. */

import type { ReactElement } from 'react';
import { ConnectionBadge, ProcessingWidget, RealtimeProvider } from '../src/react/index.js';
import type { ClientState, RealtimeEvent, Transition } from '../src/types.js';
import { FakeClient } from '../test/react/fake-client.js';

const CHANNEL = 'user-42';
const NOW = Date.now();

type JobEvent = readonly [event: string, data: Record<string, unknown>, more?: Partial<RealtimeEvent>];

interface Act {
  readonly jobs?: readonly JobEvent[];
  readonly live?: readonly JobEvent[];
  readonly state?: Partial<ClientState>;
  readonly refused?: string;
  readonly loading?: boolean;
  readonly debug?: boolean;
  /** Buttons that are clicked, by their accessible names. */
  readonly clicks?: readonly string[];
  /** Refusal of every request. */
  readonly refusal?: { readonly status: number; readonly code: string };
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

const OVERWRITE = { id: 'overwrite', text: 'Overwrite “customers-2026.csv”?', choices: ['Overwrite', 'Keep both', 'Skip'] };
const NAME = { id: 'name', text: 'Which name should the copy have?', choices: null };

/** Jobs that people control; the newest is the last. */
const CONTROL: readonly JobEvent[] = [
  ['job.completed', { job: 'c1', title: 'Invoices of November', result: { url: '/invoices.pdf' } }],
  ['job.cancelled', { job: 'c2', title: 'Export of all orders', percent: 12, by: '42' }],
  ['job.progress', { job: 'c3', title: 'Resize 4 000 pictures', percent: 58, stage: 'Thumbnails' }],
  ['job.lost', { job: 'c3' }, { fold: 'lapse', time: NOW - 20_000 }],
  ['job.retrying', { job: 'c4', title: 'Nightly sync with the warehouse', percent: 35, stage: 'Attempt 2 of 5', error: 'The warehouse did not answer in time.', retry_at: NOW + 45_000, cancellable: true }],
  ['job.progress', { job: 'c5', title: 'Rebuild search index', percent: 71, stage: 'Documents', cancellable: true }],
  ['job.cancelling', { job: 'c5', by: '42' }, { fold: 'note' }],
  ['job.asking', { job: 'c6', title: 'Copy of the archive', percent: 20, question: NAME, cancellable: true }],
  ['job.asking', { job: 'c7', title: 'Import of customers', percent: 60, question: OVERWRITE, cancellable: true }],
  ['job.progress', { job: 'c8', title: 'interview-with-a-rather-long-file-name-2026-11-22.mp3', percent: 41.7, stage: 'Aligning', eta: 130, cancellable: true }],
  ['job.queued', { job: 'c9', title: 'keynote.mov', cancellable: true }],
];

const PARTS: readonly JobEvent[] = [
  ['job.started', { job: 'p0', title: 'Campaign of December', stage: 'Sending', cancellable: true }],
  ['job.lost', { job: 'p4', title: 'Part 4: north', percent: 40, parent: 'p0' }],
  ['job.failed', { job: 'p3', title: 'Part 3: south', percent: 10, parent: 'p0', error: 'The address book is empty.' }],
  ['job.progress', { job: 'p2', title: 'Part 2: east', percent: 66, parent: 'p0', cancellable: true }],
  ['job.completed', { job: 'p1', title: 'Part 1: west', parent: 'p0' }],
];

const LINES = Array.from({ length: 12 }, (_, index) => `12:04:${10 + index} document ${(index + 1) * 250} of 12 000\n`).join('');

const LOG: readonly JobEvent[] = [['job.progress', { job: 'l1', title: 'Rebuild search index', percent: 25, stage: 'Documents', cancellable: true }]];

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
  'widget-control': { jobs: CONTROL },
  'widget-refusals': { jobs: CONTROL.slice(8, 10), clicks: ['Overwrite', 'Cancel interview-with-a-rather-long-file-name-2026-11-22.mp3'], refusal: { status: 403, code: 'may_not_control' } },
  'widget-silent': { jobs: CONTROL.slice(5, 7) },
  'widget-parts': { jobs: PARTS },
  'widget-log': { jobs: LOG, clicks: ['Log'] },
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
        <ProcessingWidget userId={42} title="Processing" limit={12} debug={act.debug ?? false} logs={name === 'widget-log'} onResult={() => {}} />
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
  const { refusal } = act;
  if (refusal) client.answer = () => Promise.reject(Object.assign(new Error(), refusal));
  for (const name of act.clicks ?? []) setTimeout(() => click(name), 100);
  setTimeout(() => sendLog(client), 300);
}

/** Give the lines to the row that reads them. */
function sendLog(client: FakeClient): void {
  const of = { key: 'stream-log-l1', attempt: 'A' };
  const events = [
    client.event(CHANNEL, 'stream.started', { stream: 'log-l1', format: 'text', meta: null }, of),
    client.event(CHANNEL, 'stream.part', [LINES], { ...of, fold: 'append' }),
  ];
  const snapshot = { channel: CHANNEL, events, position: { epoch: 'k3v9q2wz', offset: 99 } };
  for (const handlers of client.live) if (handlers.snapshotKey === of.key) void handlers.onSnapshot?.(snapshot);
}

/** Click a button or a summary by its accessible name, as a person does. */
function click(name: string): void {
  const labels = (element: Element): string =>
    (element.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent).join(' ') || (element.textContent ?? '');
  [...document.querySelectorAll<HTMLElement>('button, summary')].find((element) => labels(element).trim() === name)?.click();
}

function eventOf(client: FakeClient, [event, data, more]: JobEvent, index: number): RealtimeEvent {
  return client.event(CHANNEL, event, data, { time: NOW - 90_000 + index * 1_000, key: `job-${String(data['job'])}`, ...more });
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
