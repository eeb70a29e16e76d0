-- The log in PostgreSQL, in a schema of its own; docs/specification.md §2 says what it promises.
-- An event gets its place while its channel's row is locked, so the order of commits is that of
-- offsets, without the holes that a sequence leaves.

CREATE TABLE {schema}.settings (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version integer NOT NULL,
    history_events bigint NOT NULL DEFAULT 1000,
    history_bytes bigint NOT NULL DEFAULT 1048576,
    history_seconds double precision NOT NULL DEFAULT 600,
    configuration text NOT NULL DEFAULT '',
    generation bigint NOT NULL DEFAULT 0,
    relayed boolean NOT NULL DEFAULT false
);

CREATE TABLE {schema}.channels (
    channel text PRIMARY KEY CHECK (channel ~ '^[A-Za-z0-9_=@,.;-]+$' AND length(channel) <= 128),
    epoch text NOT NULL,
    top bigint NOT NULL DEFAULT 0,
    top_id text,
    first bigint NOT NULL DEFAULT 1,
    bytes bigint NOT NULL DEFAULT 0,
    touched timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    repeated bigint,
    repeated_by xid8
) WITH (fillfactor = 50);
CREATE INDEX ON {schema}.channels (changed);

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

-- What a transaction writes, in any language: it becomes events when that commits. Where it gives
-- no id, one is made that nobody can repeat, and so need not be remembered.
CREATE TABLE {schema}.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY,
    writer xid8 NOT NULL DEFAULT pg_current_xact_id(),
    channel text NOT NULL CHECK (channel ~ '^[A-Za-z0-9_=@,.;-]+$' AND length(channel) <= 128),
    event text NOT NULL CHECK (length(event) BETWEEN 1 AND 64),
    body text NOT NULL DEFAULT 'null' CHECK (octet_length(body) <= 1048576),
    id text CHECK (length(id) BETWEEN 1 AND 128),
    key text CHECK (length(key) BETWEEN 1 AND 128),
    source text CHECK (length(source) BETWEEN 1 AND 128)
);
CREATE INDEX ON {schema}.outbox (writer);

-- The transactions that wrote there: one row each, whose deferred trigger numbers all at commit.
CREATE TABLE {schema}.pending (writer xid8 PRIMARY KEY);

-- What a relay has not carried yet, where there is one.
CREATE TABLE {schema}.uncarried (
    channel text NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (channel, "offset")
);

-- The tables whose changes are events, and the trigger functions that make them.
CREATE TABLE {schema}.watches (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    watched regclass NOT NULL UNIQUE,
    channel text NOT NULL,
    event text NOT NULL,
    columns text[] NOT NULL,
    key text
);

CREATE TABLE {schema}.ids (
    channel text NOT NULL,
    id text NOT NULL,
    "offset" bigint NOT NULL,
    noted timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (channel, id)
);

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
