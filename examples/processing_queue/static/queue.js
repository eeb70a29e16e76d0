/** The jobs as this page knows them: what the snapshot says, then what each event changes. */

const ORDER = ["started", "queued", "failed", "completed"];
const TIMEOUT = 8_000;

export class Queue {
  /** The place in the channel of the last thing that we know: {epoch, offset}. */
  position = null;
  uploadLimit = Infinity;
  #jobs = new Map();

  /** Takes the application's snapshot, and the position it stands at. */
  async load(channel) {
    const response = await fetch("/api/queue", { signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Error(`the queue answered ${response.status}`);
    const position = positionOf(response.headers.get("realtime-position"), channel);
    const { jobs, upload_limit } = await response.json();
    this.#jobs = new Map(jobs.map((job) => [job.job, job]));
    this.uploadLimit = upload_limit;
    this.position = position;
  }

  /**
   * Each event carries the whole job, so the newest one is all there is to know. Returns whether it
   * was news: what follows a reset may be in the snapshot that was loaded for it.
   */
  apply({ data, position }) {
    const { epoch, offset } = this.position;
    if (position.epoch === epoch && position.offset <= offset) return false;
    this.position = position;
    this.#jobs.set(data.job, data);
    return true;
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
  if (name !== channel) throw new Error(`the snapshot says no position of ${channel}`);
  const [epoch, offset] = text.split(":");
  return { epoch, offset: Number(offset) };
}
