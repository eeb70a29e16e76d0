-- Jobs, one row each, with their whole state. A second run changes nothing.

CREATE SCHEMA IF NOT EXISTS queue;

CREATE TABLE IF NOT EXISTS queue.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    title text NOT NULL,
    path text NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'asking', 'completed', 'failed', 'cancelled')),
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    stage text,
    message text,
    error text,
    -- The widget shows Cancel while this is true, and the question while the job is `asking`.
    cancellable boolean GENERATED ALWAYS AS (status IN ('queued', 'running', 'asking')) STORED,
    question jsonb,
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    -- Each write of the worker extends the lease. After it, another worker may take the job.
    attempt integer NOT NULL DEFAULT 0,
    leased_until timestamptz,
    worker integer -- its process id
);

-- End of the wait for an answer, which a killed worker does not prolong. Older tables have none.
ALTER TABLE queue.jobs ADD COLUMN IF NOT EXISTS asked_until timestamptz;

-- Workers look for the first open job.
CREATE INDEX IF NOT EXISTS open_jobs ON queue.jobs (id) WHERE status IN ('queued', 'running', 'asking');
