/** The data of the events that the library makes itself, by `make payloads` from realtime_bridge/payloads.py. */

/**
 * The data of every `job.*` event: the job's whole state, not what changed.
 *
 * What is not known, or is no longer so, is null.
 */
export interface JobData {
  /**
   * The job's id; the event's key is `job-{id}`.
   */
  job: string;
  /**
   * What people call it.
   */
  title: string;
  /**
   * The last three are ends: nothing changes them.
   */
  state: 'queued' | 'running' | 'retrying' | 'completed' | 'failed' | 'cancelled';
  /**
   * 0 to 1.
   */
  progress: number | null;
  /**
   * The name of the step.
   */
  stage: string | null;
  /**
   * What people read.
   */
  message: string | null;
  /**
   * What went wrong.
   */
  error: string | null;
  /**
   * When it is tried again, in Unix milliseconds.
   */
  retry_at: number | null;
  /**
   * The seconds that are left, as far as can be said.
   */
  eta: number | null;
  /**
   * Grows with every state; the greatest is the newest.
   */
  version: number;
}
