/** Page of the queue: snapshot, events from its position on, and views. */

import { HybridClient } from "/realtime/client.js";

import { Badge } from "./badge.js";
import { cutSockets, isCut, allowSockets } from "./cut.js";
import { JobsView } from "./jobs-view.js";
import { hasEnded, isRunning, Queue } from "./queue.js";
import { Upload } from "./upload.js";

const CHANNEL = "user-demo";
const RETRY_MS = 3_000;
const MAX_APPLIED = 1_000;

const element = (id) => document.getElementById(id);
const client = new HybridClient();
const queue = new Queue();
const view = new JobsView(element("jobs"), {
  cancel: ({ job }) => client.cancelJob(CHANNEL, job),
  answer: ({ job, question }, value) => client.answerJob(CHANNEL, job, question.id, value),
});
const badge = new Badge(element("status"));

/** Latest events that this page has applied, in order, for tests. */
window.applied = [];
let appliedCount = 0;

/** Reason why the jobs on the page may be out of date, or null. */
let problem = "the jobs are not loaded yet";
let drawing = null;

/** Loads the snapshot, at the start and after each reset; events wait until it is there. */
async function load() {
  while (!(await tryLoad())) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  redraw();
}

async function tryLoad() {
  problem = await queue.load(CHANNEL).then(
    () => null,
    ({ message }) => message,
  );
  showStatus();
  return problem === null;
}

function apply(event) {
  if (!queue.apply(event)) return;
  window.applied.push(event);
  if (window.applied.length > MAX_APPLIED) window.applied.shift();
  appliedCount += 1;
  redraw();
}

/** Shows the client's status, or "Connecting" while the snapshot is missing. */
function showStatus() {
  const state = client.state.get();
  const isConnected = state.kind === "realtime" || state.kind === "polling";
  if (isConnected && problem) badge.show({ kind: "connecting", label: "Connecting", reason: problem });
  else badge.show(state);
}

function redraw() {
  drawing ??= requestAnimationFrame(draw);
}

function draw() {
  drawing = null;
  const { jobs, position } = queue;
  view.show(jobs);
  element("kill").disabled = !jobs.some(isRunning);
  element("empty").hidden = jobs.length > 0;
  element("summary").textContent = summary(jobs);
  element("position").textContent = `${position.epoch}:${position.offset}`;
  element("applied").textContent = appliedCount;
}

function summary(jobs) {
  const ended = jobs.filter(hasEnded).length;
  return jobs.length ? `${ended} of ${jobs.length} done` : "";
}

/** Cuts the socket or ends the cut. The client returns at its next attempt; `refresh` makes one now. */
element("cut").onclick = ({ currentTarget }) => {
  if (isCut()) {
    allowSockets();
    client.refresh();
  } else {
    cutSockets();
  }
  currentTarget.querySelector(".label").textContent = isCut() ? "Reconnect" : "Cut the socket";
  currentTarget.classList.toggle("primary", isCut());
};

/** Ends the server, and with it all connections; the launcher starts another one. */
element("restart").onclick = () => fetch("/api/restart", { method: "POST" }).catch(() => {});

/** Kills the worker, as a crash does; the launcher starts another one, which repeats the jobs. */
element("kill").onclick = () => fetch("/api/kill-worker", { method: "POST" }).catch(() => {});

new Upload(element("drop"), element("uploads"), {
  limit: () => queue.uploadLimit,
  onsent: () => client.state.get().updateSource === "polling" && client.refresh(),
});

client.state.subscribe(showStatus);
client.start();
await load();
client.subscribe(CHANNEL, { position: queue.position, onEvent: apply, onReset: load });
