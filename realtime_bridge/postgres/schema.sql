-- Tables of the log in PostgreSQL, in a schema of its own; docs/specification.md §2 has the rules.
-- An event gets its offset while its channel's row is locked. So offsets follow the order of
-- commits and have no holes; a sequence guarantees neither.

CREATE TABLE {schema}.settings (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version integer NOT NULL,
    history_events bigint NOT NULL DEFAULT 1000,
    history_bytes bigint NOT NULL DEFAULT 1048576,
    history_seconds double precision NOT NULL DEFAULT 600,
    configuration text NOT NULL DEFAULT '',
    generation bigint NOT NULL DEFAULT 0,
    relay_enabled boolean NOT NULL DEFAULT false
);

-- `first` is the lowest offset in the history, `bytes` the size of the history's bodies.
-- `changed_by` is the last transaction that moved the channel: listeners compare it with a snapshot.
-- `duplicate_offset` is the event that `duplicate_by` sent again: listeners announce it again,
-- because the first announcement may be lost.
-- fillfactor: every append updates this row, and free space on the page allows a HOT update.
CREATE TABLE {schema}.channels (
    channel text PRIMARY KEY CHECK (channel ~ '^[A-Za-z0-9_=@,.;-]+$' AND length(channel) <= 128),
    epoch text NOT NULL,
    top bigint NOT NULL DEFAULT 0,
    top_id text,
    first bigint NOT NULL DEFAULT 1,
    bytes bigint NOT NULL DEFAULT 0,
    appended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    duplicate_offset bigint,
    duplicate_by xid8
) WITH (fillfactor = 50);
CREATE INDEX ON {schema}.channels (changed_by);

CREATE TABLE {schema}.events (
    channel text NOT NULL,
    epoch text NOT NULL,
    "offset" bigint NOT NULL,
    "time" bigint NOT NULL,
    id text NOT NULL,
    event text NOT NULL,
    body text NOT NULL,
    key text,
    source text,
    PRIMARY KEY (channel, "offset")
);

-- Rows that an application's transaction inserts, in any language; its commit makes them events.
-- A row without an id gets a random one. No client can send that id again, so it is not stored.
-- constraints.sql checks the rows.
CREATE TABLE {schema}.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY,
    writer xid8 NOT NULL DEFAULT pg_current_xact_id(),
    channel text NOT NULL,
    event text NOT NULL,
    body text NOT NULL DEFAULT 'null',
    id text,
    key text,
    source text
);
CREATE INDEX ON {schema}.outbox (writer);

-- Transactions with rows in the outbox. One row each, so that the deferred trigger runs once per
-- transaction and not once per event.
CREATE TABLE {schema}.outbox_transactions (writer xid8 PRIMARY KEY);

-- Events that wait for the relay; empty unless settings.relay_enabled.
CREATE TABLE {schema}.relay_queue (
    channel text NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (channel, "offset")
);

-- Tables whose changes are events. Each has three trigger functions in this schema. The name finds
-- a table that was dropped and created again.
CREATE TABLE {schema}.watches (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation regclass NOT NULL UNIQUE,
    name text NOT NULL,
    channel text NOT NULL,
    event text NOT NULL,
    columns text[] NOT NULL,
    key text
);

-- Ids that identify duplicates; trim_channel removes old ones.
CREATE TABLE {schema}.ids (
    channel text NOT NULL,
    id text NOT NULL,
    "offset" bigint NOT NULL,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (channel, id)
);

-- Latest event of each key. fillfactor: each event of a key updates the key's row.
CREATE TABLE {schema}.latest (
    channel text NOT NULL,
    key text NOT NULL,
    epoch text NOT NULL,
    "offset" bigint NOT NULL,
    "time" bigint NOT NULL,
    id text NOT NULL,
    event text NOT NULL,
    body text NOT NULL,
    source text,
    PRIMARY KEY (channel, key)
) WITH (fillfactor = 70);
