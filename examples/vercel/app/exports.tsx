'use client';

import { ConnectionBadge, reduceJobs, useHybridUpdates } from 'realtime-bridge/react';
import type { Jobs } from 'realtime-bridge/react';

/** The user's exports, from the latest event of each and the events after it. */
export function Exports({ user }: { user: string }) {
  const { data: jobs } = useHybridUpdates<Jobs>(null, user, { reduce: reduceJobs });
  const start = () => fetch('/api/exports', { method: 'POST' });
  return (
    <>
      <ConnectionBadge />
      <p>
        <button onClick={() => void start()}>Start an export</button>
      </p>
      <ul>
        {(jobs ?? []).map(({ id, title, state, percent }) => (
          <li key={id}>
            {title ?? id}: {state} <progress max={100} value={percent ?? 0} />
          </li>
        ))}
      </ul>
    </>
  );
}
