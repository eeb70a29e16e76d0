/** Jobs of this page: a snapshot, then the changes of each event. */

const ORDER = ["started", "queued", "failed", "completed"];
const TIMEOUT = 8_000;

export class Queue {
  /** Position of the latest applied event or of the snapshot: {epoch, offset}. */
  position = null;
  uploadLimit = Infinity;
  #jobs = new Map();

  /** Loads the application's snapshot and its position. */
  async load(channel) {
    const response = await fetch("/api/queue", { signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Error(`the server returned status ${response.status}`);
    const position = positionOf(response.headers.get("realtime-position"), channel);
    const { jobs, upload_limit } = await response.json();
    this.#jobs = new Map(jobs.map((job) => [job.job, job]));
    this.uploadLimit = upload_limit;
    this.position = position;
  }

  /**
   * Applies an event, and returns whether it was new. Each event has the whole job, so the newest
   * is enough. Events after a reset may be in the snapshot that was loaded for the reset.
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

/** Orders running jobs first, then queued ones (oldest first), then ended ones (newest first). */
function compare(one, other) {
  const ended = one.state === "completed" || one.state === "failed";
  const rank = ORDER.indexOf(one.state) - ORDER.indexOf(other.state);
  return rank || (ended ? other.created - one.created : one.created - other.created);
}

function positionOf(header, channel) {
  const [name, text] = (header ?? "").split(" ");
  if (name !== channel) throw new Error(`the snapshot has no position of ${channel}`);
  const [epoch, offset] = text.split(":");
  return { epoch, offset: Number(offset) };
}
