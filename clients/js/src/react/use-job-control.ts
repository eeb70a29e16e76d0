'use client';
/** Hook for requests of people to jobs. */

import { useMemo } from 'react';
import type { ConnectionOptions } from './use-connection-status.js';
import { useClient } from './provider.js';

export interface JobControl {
  /** Ask a job to end; see `Client.cancelJob`. */
  readonly cancel: (id: string, reason?: string) => Promise<void>;
  /** Answer a question of a job; see `Client.answerJob`. */
  readonly answer: (id: string, question: string, value: unknown) => Promise<void>;
}

/**
 * Return functions that cancel the jobs of `channel` and answer their questions; both keep their identity between renders.
 * Without a channel they reject.
 */
export function useJobControl(channel: string | null | undefined, { endpoint }: ConnectionOptions = {}): JobControl {
  const client = useClient(endpoint);
  return useMemo(() => {
    const known = async (): Promise<string> => {
      if (!channel) throw new Error('the channel of the jobs is not known yet');
      return channel;
    };
    return {
      cancel: async (id, reason) => client.cancelJob(await known(), id, reason),
      answer: async (id, question, value) => client.answerJob(await known(), id, question, value),
    };
  }, [client, channel]);
}
