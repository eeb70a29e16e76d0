-- Tables of keys with owners; docs/specification.md §2.6 has the rules.

ALTER TABLE {schema}.events ADD COLUMN IF NOT EXISTS fold text, ADD COLUMN IF NOT EXISTS attempt text;
ALTER TABLE {schema}.latest ADD COLUMN IF NOT EXISTS attempt text;

-- Trace contexts are for the events of the last minutes: `latest` and `folded` have none.
ALTER TABLE {schema}.events ADD COLUMN IF NOT EXISTS traceparent text;
ALTER TABLE {schema}.outbox ADD COLUMN IF NOT EXISTS traceparent text;

-- `has_owned` is true once the channel has a key with an owner or with notes. `lease_at` is the time at
-- which the next lease runs out. `renewed_at` keeps items, as an append does.
ALTER TABLE {schema}.channels
    ADD COLUMN IF NOT EXISTS has_owned boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS lease_at timestamptz,
    ADD COLUMN IF NOT EXISTS renewed_at timestamptz;
CREATE INDEX IF NOT EXISTS channels_lease_at ON {schema}.channels (lease_at) WHERE lease_at IS NOT NULL;

-- State of a key with an owner or with notes. Its base is in `latest`, its parts, notes and end are in
-- `folded`. `shown` is the offset of its last event without the parts, `touched` that of its last event.
-- fillfactor: each event of a key updates the key's row.
CREATE TABLE IF NOT EXISTS {schema}.owned (
    channel text NOT NULL,
    key text NOT NULL,
    attempt text,
    ended text CHECK (ended IN ('end', 'lapse')),
    lease interval,
    expires timestamptz,
    will_event text,
    will_body text,
    shown bigint NOT NULL,
    touched bigint NOT NULL,
    touched_at timestamptz NOT NULL,
    noted bigint NOT NULL DEFAULT 0,
    items_bytes bigint NOT NULL DEFAULT 0,
    is_trimmed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (channel, key)
) WITH (fillfactor = 50);

-- Insert-only while a key grows: a text that grows would be copied with each part.
CREATE TABLE IF NOT EXISTS {schema}.folded (
    channel text NOT NULL,
    key text NOT NULL,
    "offset" bigint NOT NULL,
    fold text NOT NULL CHECK (fold IN ('append', 'note', 'end', 'lapse')),
    epoch text NOT NULL,
    "time" bigint NOT NULL,
    id text NOT NULL,
    event text NOT NULL,
    body text NOT NULL,
    source text,
    attempt text,
    PRIMARY KEY (channel, key, "offset")
);
