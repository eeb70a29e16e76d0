/** The jobs as this page knows them: what the snapshot says, then what each event changes. */

const ORDER = ["started", "queued", "failed", "completed"];

export class Queue {
  #jobs = new Map();
  uploadLimit = Infinity;

  /** Takes the application's snapshot, and returns the position it stands at. */
  async load(channel) {
    const response = await fetch("/api/queue");
    if (!response.ok) throw new Error(`The queue answered ${response.status}`);
    const { jobs, upload_limit } = await response.json();
    this.#jobs = new Map(jobs.map((job) => [job.job, job]));
    this.uploadLimit = upload_limit;
    return positionOf(response.headers.get("realtime-position"), channel);
  }

  /** Each event carries the whole job, so the newest one is all there is to know. */
  apply({ data }) {
    this.#jobs.set(data.job, data);
  }

  get jobs() {
    return [...this.#jobs.values()].sort(compare);
  }
}

/** What is being done first, then what waits, the next one on top, then what ended last. */
function compare(one, other) {
  const ended = one.state === "completed" || one.state === "failed";
  const rank = ORDER.indexOf(one.state) - ORDER.indexOf(other.state);
  return rank || (ended ? other.created - one.created : one.created - other.created);
}

function positionOf(header, channel) {
  const [name, text] = (header ?? "").split(" ");
  if (name !== channel) throw new Error(`The snapshot says no position of ${channel}`);
  const [epoch, offset] = text.split(":");
  return { epoch, offset: Number(offset) };
}
