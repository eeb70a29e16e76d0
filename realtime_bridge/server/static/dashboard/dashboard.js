// The dashboard. It asks the server for its state every two seconds, and subscribes as any page does.
import { HybridClient } from './client.js';

const INTERVAL_MS = 2_000;
const MOST_LINES = 100;

const EVENTS = [
  ['events_published', 'Published by this server'],
  ['events_announced', 'Announced by the log'],
  ['event_deliveries', 'Deliveries to subscribers'],
  ['polls', 'Polls answered'],
];
const TROUBLE = [
  ['recoveries', 'Recoveries of a gap'],
  ['events_recovered', 'Events read in recoveries'],
  ['resets', 'Resets'],
  ['slow_clients', 'Slow clients'],
  ['events_unpushed', 'Failed pushes to the provider'],
];

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
let before = null;
let isDevelopment = false;
let client = null;

/** Creates an element; text is never read as HTML. */
function element(name, text, className) {
  const created = document.createElement(name);
  created.textContent = text;
  if (className) created.className = className;
  return created;
}

function clock(time) {
  return new Date(time).toLocaleTimeString();
}

function showNumbers(id, rows) {
  byId(id).replaceChildren(...rows.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}

/** Returns the sum of a metric, and its rate since the last answer. */
function withRate(state, name) {
  const total = state.metrics[name]?.[''] ?? 0;
  const seconds = before ? (state.time - before.time) / 1_000 : 0;
  const earlier = before?.metrics[name]?.[''] ?? 0;
  const rate = seconds > 0 && total >= earlier ? ` (${number.format((total - earlier) / seconds)}/s)` : '';
  return number.format(total) + rate;
}

function labelled(state, name) {
  return Object.entries(state.metrics[name] ?? {}).sort((one, other) => other[1] - one[1]);
}

function showHealth({ health }) {
  const isGood = health.status === 'ok' && health.log === 'ok' && health.backend === 'ok';
  const parts = [health.status, `log ${health.log}`, `backend ${health.backend}`];
  if (health.down_seconds) parts.push(`down for ${number.format(health.down_seconds)} s`);
  if (health.failing.length) parts.push(`not running: ${health.failing.join(', ')}`);
  setText('health', parts.join(' · '), `badge ${isGood ? 'good' : 'bad'}`);
}

/** Changes a text only if it is another one: screen readers announce each change. */
function setText(id, text, className) {
  const target = byId(id);
  if (target.textContent !== text) target.textContent = text;
  if (className !== undefined) target.className = className;
}

function showChannels(channels) {
  const focused = document.activeElement?.dataset?.channel;
  const rows = channels.map(({ name, subscribers, offset }) => {
    const row = document.createElement('tr');
    const use = element('button', 'Use');
    use.type = 'button';
    use.dataset.channel = name;
    use.setAttribute('aria-label', `Use ${name} in the forms`);
    row.append(element('td', name), element('td', number.format(subscribers)), element('td', number.format(offset)));
    row.append(document.createElement('td'));
    row.lastChild.append(use);
    return row;
  });
  byId('channels').replaceChildren(...rows);
  byId('channels-empty').hidden = channels.length > 0;
  // The rows are new: the keyboard stays where it was.
  if (focused) [...byId('channels').querySelectorAll('button')].find((one) => one.dataset.channel === focused)?.focus();
}

function showWarnings(warnings) {
  const lines = warnings.map(({ time, level, text }) => element('li', `${clock(time)} ${level} ${text}`, level));
  byId('warnings').replaceChildren(...lines);
  byId('warnings-empty').hidden = lines.length > 0;
}

function show(state) {
  isDevelopment = state.dev;
  byId('as-user').hidden = !state.dev;
  const backend = state.backend ? `, ${state.backend}` : '';
  setText('server', `${state.version}, Python ${state.python}, ${state.log}${backend}, worker ${state.worker}${state.dev ? ', development' : ''}`);
  showHealth(state);
  const connections = labelled(state, 'connections').map(([name, count]) => [name, number.format(count)]);
  showNumbers('connections', [...connections, ['users', number.format(state.metrics.users?.[''] ?? 0)]]);
  showNumbers('events', EVENTS.map(([name, title]) => [title, withRate(state, name)]));
  const refused = labelled(state, 'refusals').map(([code, count]) => [`Refused: ${code}`, number.format(count)]);
  const closed = labelled(state, 'connections_closed').map(([code, count]) => [`Closed: ${code}`, number.format(count)]);
  showNumbers('trouble', [...TROUBLE.map(([name, title]) => [title, withRate(state, name)]), ...refused, ...closed]);
  showChannels(state.channels);
  showWarnings(state.warnings);
  before = state;
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  return body.error?.message ?? `The server answered ${response.status}`;
}

async function refresh() {
  if (byId('pause').getAttribute('aria-pressed') === 'true' || document.hidden) return;
  try {
    const response = await fetch('dashboard/state');
    if (!response.ok) throw new Error(await errorOf(response));
    show(await response.json());
  } catch (error) {
    setText('health', `No answer: ${error.message}`, 'badge bad');
  }
}

async function keepCurrent() {
  await refresh();
  setTimeout(keepCurrent, INTERVAL_MS);
}

function report(id, text, isGood) {
  setText(id, text, isGood ? '' : 'bad');
}

async function publish(event) {
  event.preventDefault();
  const { data, key, ...fields } = Object.fromEntries(new FormData(event.target));
  try {
    const body = JSON.stringify({ ...fields, data: JSON.parse(data || 'null'), key: key || null });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch('dashboard/publish', { method: 'POST', headers, body });
    if (!response.ok) throw new Error(await errorOf(response));
    const { id, position } = await response.json();
    report('published', `Published ${position ? `at offset ${position.offset}` : `with the id ${id}`}`, true);
  } catch (error) {
    report('published', error.message, false);
  }
}

function addLine(text) {
  const list = byId('received');
  list.prepend(element('li', `${clock(Date.now())} ${text}`));
  while (list.children.length > MOST_LINES) list.lastChild.remove();
}

function leave() {
  client?.stop();
  client = null;
  byId('leave').disabled = true;
  report('subscribed', 'Ended', true);
}

function subscribe(event) {
  event.preventDefault();
  client?.stop();
  const { channel, user } = Object.fromEntries(new FormData(event.target));
  const query = isDevelopment ? `?userId=${encodeURIComponent(user)}` : '';
  const mine = new HybridClient({ endpoint: new URL(`.${query}`, location.href).href });
  client = mine;
  let denial = '';
  const showState = () => {
    if (client === mine) report('subscribed', denial || `${channel}: ${mine.state.get().label}`, !denial);
  };
  mine.state.subscribe(showState);
  mine.subscribe(channel, {
    onEvent: ({ event: name, position, data }) => addLine(`${position?.offset ?? ''} ${name} ${JSON.stringify(data)}`),
    onReset: ({ reason }) => addLine(`reset: ${reason}`),
    onError: ({ message }) => {
      denial = message;
      showState();
    },
  });
  mine.start();
  byId('leave').disabled = false;
}

byId('publish').addEventListener('submit', publish);
byId('subscribe').addEventListener('submit', subscribe);
byId('leave').addEventListener('click', leave);
byId('pause').addEventListener('click', ({ target }) => {
  const isPaused = target.getAttribute('aria-pressed') !== 'true';
  target.setAttribute('aria-pressed', String(isPaused));
  target.textContent = isPaused ? 'Resume' : 'Pause';
});
byId('channels').addEventListener('click', ({ target }) => {
  if (!target.dataset.channel) return;
  for (const form of ['publish', 'subscribe']) byId(form).elements.channel.value = target.dataset.channel;
});
document.addEventListener('visibilitychange', refresh);
keepCurrent();
