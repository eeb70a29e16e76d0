/** List of the jobs, with a card for each. */

import { bytes, count, percent } from "./format.js";

const STATES = {
  queued: "Queued",
  started: "Processing",
  asking: "Needs an answer",
  lost: "No contact",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

export class JobsView {
  #list;
  #requests;
  #cards = new Map();

  /** `requests` are functions that return promises: `cancel(job)` and `answer(job, value)`. */
  constructor(list, requests) {
    this.#list = list;
    this.#requests = requests;
  }

  show(jobs) {
    const cards = jobs.map((job) => this.#card(job).show(job));
    const known = new Set(jobs.map((job) => job.job));
    for (const id of this.#cards.keys()) if (!known.has(id)) this.#cards.delete(id);
    const same = cards.every((card, place) => card === this.#list.children[place]);
    if (!same || cards.length !== this.#list.children.length) this.#list.replaceChildren(...cards);
  }

  #card(job) {
    if (!this.#cards.has(job.job)) this.#cards.set(job.job, new Card(this.#requests));
    return this.#cards.get(job.job);
  }
}

class Card {
  #element = document.getElementById("job").content.firstElementChild.cloneNode(true);
  #job = null;
  #requests;

  constructor(requests) {
    this.#requests = requests;
    this.#part("cancel").onclick = () => this.#request("cancel");
  }

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
    this.#part("state").textContent = stateText(job);
    this.#part("cancel").hidden = !job.cancellable || job.cancelling;
    this.#part("percent").textContent = percent(job.percent);
    this.#part("bytes").textContent = `${bytes(job.bytes_done)} of ${passes(job)} read`;
    this.#showBar(job);
    this.#part("stages").replaceChildren(...stages(job));
    this.#part("note").textContent = note(job);
    this.#showQuestion(job);
    this.#showEnd(job);
  }

  #showQuestion({ question }) {
    this.#part("question").hidden = !question;
    if (!question) return;
    this.#part("text").textContent = question.text;
    this.#part("choices").replaceChildren(...question.choices.map((choice) => this.#choice(choice)));
  }

  #choice(value) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = value;
    button.onclick = () => this.#request("answer", value);
    return button;
  }

  /** Sends a request of the person; an event brings its effect, here is its failure. */
  #request(name, ...details) {
    this.#requests[name](this.#job, ...details).catch(({ message }) => {
      this.#part("error").textContent = message;
    });
  }

  #showBar(job) {
    const bar = this.#part("bar");
    bar.setAttribute("aria-valuenow", job.percent);
    bar.setAttribute("aria-valuetext", `${percent(job.percent)}, ${stateText(job)}`);
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

function stateText({ state, cancelling }) {
  return cancelling ? "Cancelling" : STATES[state];
}

function note({ state, attempt, message }) {
  if (state === "lost") return "Its worker was killed. The next worker starts the job again.";
  const attempts = attempt > 1 ? `Attempt ${attempt}, because a worker was killed.` : "";
  return [attempts, message].filter(Boolean).join(" ");
}

/** Returns the amount to read as text: each stage reads the whole file. */
function passes({ stages: names, size }) {
  return `${names.length} × ${bytes(size)}`;
}

function stages({ stages: names, stage, percent: done }) {
  const current = done === 100 ? names.length : names.indexOf(stage);
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
