/** Puts the page together: the queue's stream, the connection that feeds it, and what people see. */

import { Badge } from "./badge.js";
import { Bridge } from "./bridge.js";
import { Connection } from "./connection.js";
import { JobsView } from "./jobs-view.js";
import { Queue } from "./queue.js";
import { Stream } from "./stream.js";
import { Upload } from "./upload.js";

const CHANNEL = "user-demo";
const BADGE_EVERY = 500;
const REMEMBERED = 1_000;

const element = (id) => document.getElementById(id);
const queue = new Queue();
const view = new JobsView(element("jobs"));
const badge = new Badge(element("status"));

/** The events this page has applied, in order, for whoever wants to check. */
window.applied = [];
let appliedCount = 0;

const stream = new Stream(CHANNEL, {
  load: async () => {
    const position = await queue.load(CHANNEL);
    redraw();
    return position;
  },
  apply: (event) => {
    queue.apply(event);
    window.applied.push(event);
    if (window.applied.length > REMEMBERED) window.applied.shift();
    appliedCount += 1;
    redraw();
  },
});
const connection = new Connection(new Bridge(), stream, () => badge.show(connection));

let drawing = null;
function redraw() {
  drawing ??= requestAnimationFrame(draw);
}

function draw() {
  drawing = null;
  const { jobs } = queue;
  view.show(jobs);
  element("empty").hidden = jobs.length > 0;
  element("summary").textContent = summary(jobs);
  const { epoch, offset } = stream.position ?? {};
  element("position").textContent = epoch ? `${epoch}:${offset}` : "–";
  element("applied").textContent = appliedCount;
}

function summary(jobs) {
  const ended = jobs.filter(({ state }) => state === "completed" || state === "failed").length;
  return jobs.length ? `${ended} of ${jobs.length} done` : "";
}

element("cut").onclick = ({ currentTarget }) => {
  if (connection.isCut) connection.restore();
  else connection.cut();
  currentTarget.querySelector(".label").textContent = connection.isCut
    ? "Let it return"
    : "Cut the socket";
  currentTarget.classList.toggle("primary", connection.isCut);
};

new Upload(element("drop"), element("uploads"), {
  limit: () => queue.uploadLimit,
  onsent: () => connection.hurry(),
});
addEventListener("online", () => connection.hurry());
document.addEventListener("visibilitychange", () => document.hidden || connection.hurry());
setInterval(() => badge.show(connection), BADGE_EVERY);
badge.show(connection);
connection.start();
