-- The jobs: a row each, and all there is to know of them. Running this again changes nothing.

CREATE SCHEMA IF NOT EXISTS queue;

CREATE TABLE IF NOT EXISTS queue.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    title text NOT NULL,
    path text NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    stage text,
    message text,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    -- The worker of this attempt has the row until then; each of its writes extends that.
    attempt integer NOT NULL DEFAULT 0,
    leased_until timestamptz
);

-- What workers look for.
CREATE INDEX IF NOT EXISTS open_jobs ON queue.jobs (id) WHERE status IN ('queued', 'running');
