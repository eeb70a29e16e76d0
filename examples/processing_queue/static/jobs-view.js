/** List of the jobs, with a card for each. */

import { bytes, count, percent } from "./format.js";

const STATES = { queued: "Queued", started: "Processing", completed: "Completed", failed: "Failed" };

export class JobsView {
  #list;
  #cards = new Map();

  constructor(list) {
    this.#list = list;
  }

  show(jobs) {
    const cards = jobs.map((job) => this.#card(job).show(job));
    const known = new Set(jobs.map((job) => job.job));
    for (const id of this.#cards.keys()) if (!known.has(id)) this.#cards.delete(id);
    const same = cards.every((card, place) => card === this.#list.children[place]);
    if (!same || cards.length !== this.#list.children.length) this.#list.replaceChildren(...cards);
  }

  #card(job) {
    if (!this.#cards.has(job.job)) this.#cards.set(job.job, new Card());
    return this.#cards.get(job.job);
  }
}

class Card {
  #element = document.getElementById("job").content.firstElementChild.cloneNode(true);
  #job = null;

  show(job) {
    if (job !== this.#job) this.#fill(job);
    this.#job = job;
    return this.#element;
  }

  #fill(job) {
    this.#element.dataset.job = job.job;
    this.#element.dataset.state = job.state;
    this.#part("icon").setAttribute("href", `#icon-${job.state}`);
    this.#part("name").textContent = this.#part("name").title = job.name;
    this.#part("size").textContent = bytes(job.size);
    this.#part("state").textContent = STATES[job.state];
    this.#part("percent").textContent = percent(job.percent);
    this.#part("bytes").textContent = `${bytes(job.bytes_done)} of ${passes(job)} read`;
    this.#showBar(job);
    this.#part("stages").replaceChildren(...stages(job));
    this.#showEnd(job);
  }

  #showBar(job) {
    const bar = this.#part("bar");
    bar.setAttribute("aria-valuenow", job.percent);
    bar.setAttribute("aria-valuetext", `${percent(job.percent)}, ${STATES[job.state]}`);
    bar.setAttribute("aria-label", job.name);
    bar.firstElementChild.style.width = `${job.percent}%`;
  }

  #showEnd({ result, error, size }) {
    this.#part("error").textContent = error ?? "";
    this.#part("result").hidden = !result;
    if (!result) return;
    this.#part("sha256").textContent = result.sha256;
    this.#part("compressed").textContent = `${bytes(result.compressed_bytes)}${saved(result, size)}`;
    this.#part("lines").textContent = count(result.lines);
    this.#part("words").textContent = count(result.words);
  }

  #part(name) {
    return this.#element.querySelector(`[data-part="${name}"]`);
  }
}

/** Returns the amount to read as text: each stage reads the whole file. */
function passes({ stages: names, size }) {
  return `${names.length} × ${bytes(size)}`;
}

function stages({ stages: names, stage, state }) {
  const current = state === "completed" ? names.length : names.indexOf(stage);
  return names.map((name, place) => {
    const item = document.createElement("li");
    item.textContent = name;
    item.dataset.stage = place < current ? "done" : place === current ? "current" : "waiting";
    return item;
  });
}

function saved({ compressed_bytes: compressed }, size) {
  if (compressed >= size) return " (no smaller)";
  return ` (${Math.round(100 - (compressed / size) * 100)} % smaller)`;
}
