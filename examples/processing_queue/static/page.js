/** Puts the page together: the queue's snapshot, the client that goes on from it, and what people see. */

import { HybridClient } from "/realtime/client.js";

import { Badge } from "./badge.js";
import { cutSockets, isCut, letSocketsReturn } from "./cut.js";
import { JobsView } from "./jobs-view.js";
import { Queue } from "./queue.js";
import { Upload } from "./upload.js";

const CHANNEL = "user-demo";
const AGAIN = 3_000;
const REMEMBERED = 1_000;

const element = (id) => document.getElementById(id);
const client = new HybridClient();
const queue = new Queue();
const view = new JobsView(element("jobs"));
const badge = new Badge(element("status"));

/** The events this page has applied, in order, for whoever wants to check. */
window.applied = [];
let appliedCount = 0;

/** Why the jobs shown are not to be trusted, if so. */
let problem = "the jobs are not loaded yet";
let drawing = null;

/** Takes the snapshot, at the start and where there is a hole; until it is there, no event is applied. */
async function load() {
  while (!(await loaded())) await new Promise((resolve) => setTimeout(resolve, AGAIN));
  redraw();
}

async function loaded() {
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
  if (window.applied.length > REMEMBERED) window.applied.shift();
  appliedCount += 1;
  redraw();
}

/** The best of connections is worth nothing without a snapshot. */
function showStatus() {
  const state = client.state.get();
  const good = state.kind === "realtime" || state.kind === "polling";
  if (good && problem) badge.show({ kind: "connecting", label: "Connecting", reason: problem });
  else badge.show(state);
}

function redraw() {
  drawing ??= requestAnimationFrame(draw);
}

function draw() {
  drawing = null;
  const { jobs, position } = queue;
  view.show(jobs);
  element("empty").hidden = jobs.length > 0;
  element("summary").textContent = summary(jobs);
  element("position").textContent = `${position.epoch}:${position.offset}`;
  element("applied").textContent = appliedCount;
}

function summary(jobs) {
  const ended = jobs.filter(({ state }) => state === "completed" || state === "failed").length;
  return jobs.length ? `${ended} of ${jobs.length} done` : "";
}

/** The client returns by itself, at its next attempt; somebody who pressed a button should not wait. */
element("cut").onclick = ({ currentTarget }) => {
  if (isCut()) {
    letSocketsReturn();
    client.refresh();
  } else {
    cutSockets();
  }
  currentTarget.querySelector(".label").textContent = isCut() ? "Let it return" : "Cut the socket";
  currentTarget.classList.toggle("primary", isCut());
};

new Upload(element("drop"), element("uploads"), {
  limit: () => queue.uploadLimit,
  onsent: () => client.state.get().updateSource === "polling" && client.refresh(),
});

client.state.subscribe(showStatus);
client.start();
await load();
client.subscribe(CHANNEL, { position: queue.position, onEvent: apply, onReset: load });
