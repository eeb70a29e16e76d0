/** The data of the events that the library makes itself, by `make payloads` from realtime_bridge/payloads.py. */

/**
 * Data of every `job.*` event: the whole state of the job; an unknown value is null.
 */
export interface JobData {
  /**
   * The job's id; the event's key is `job-{id}`.
   */
  job: string;
  /**
   * The job's name for people.
   */
  title: string;
  /**
   * The last three are final.
   */
  state: 'queued' | 'running' | 'retrying' | 'completed' | 'failed' | 'cancelled';
  /**
   * 0 to 1.
   */
  progress: number | null;
  /**
   * The name of the current step.
   */
  stage: string | null;
  /**
   * A text for people.
   */
  message: string | null;
  /**
   * The reason of the failure.
   */
  error: string | null;
  /**
   * The time of the next attempt, in Unix milliseconds.
   */
  retry_at: number | null;
  /**
   * The estimated seconds until the end.
   */
  eta: number | null;
  /**
   * Grows with every state; the greatest is the newest.
   */
  version: number;
}
