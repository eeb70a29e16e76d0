/** Jobs of this page: a snapshot, then the changes of each event. */

const RANK = { started: 0, asking: 0, lost: 0, queued: 1, failed: 2, cancelled: 3, completed: 3 };
const TIMEOUT = 8_000;

/** What a person's request changes at once; the worker's next event has the rest. */
const NOTES = {
  "job.cancelling": { cancelling: true },
  "job.answered": { state: "started", question: null },
};

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
  apply({ event, data, fold, position }) {
    const { epoch, offset } = this.position;
    if (position.epoch === epoch && position.offset <= offset) return false;
    this.position = position;
    // A person's request is a note beside the job: it has no job of its own.
    this.#jobs.set(data.job, fold === "note" ? { ...this.#jobs.get(data.job), ...NOTES[event] } : data);
    return true;
  }

  get jobs() {
    return [...this.#jobs.values()].sort(compare);
  }
}

export function isRunning({ state }) {
  return state === "started" || state === "asking";
}

export function hasEnded({ state }) {
  return RANK[state] >= RANK.failed;
}

/** Orders running jobs first, then queued ones (oldest first), then ended ones (newest first). */
function compare(one, other) {
  const rank = RANK[one.state] - RANK[other.state];
  return rank || (hasEnded(one) ? other.created - one.created : one.created - other.created);
}

function positionOf(header, channel) {
  const [name, text] = (header ?? "").split(" ");
  if (name !== channel) throw new Error(`the snapshot has no position of ${channel}`);
  const [epoch, offset] = text.split(":");
  return { epoch, offset: Number(offset) };
}
