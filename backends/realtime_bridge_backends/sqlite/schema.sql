-- Log in a file. Times are seconds since the Unix epoch.

CREATE TABLE settings (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    prefix TEXT NOT NULL,
    lineage TEXT NOT NULL,              -- another one after each turn of all epochs
    commits INTEGER NOT NULL DEFAULT 0, -- transactions that wrote: a total order, one at a time
    boot TEXT NOT NULL DEFAULT '',      -- run of the operating system that wrote last
    clean INTEGER NOT NULL DEFAULT 1,   -- 1 if the last process left in order
    swept REAL NOT NULL DEFAULT 0,
    configuration TEXT NOT NULL DEFAULT '',
    generation INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE channels (
    number INTEGER PRIMARY KEY,
    channel TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    top INTEGER NOT NULL,
    top_id TEXT,
    first INTEGER NOT NULL,             -- offset of the first stored event
    bytes INTEGER NOT NULL,             -- data of the stored events
    key_count INTEGER NOT NULL,
    key_bytes INTEGER NOT NULL,         -- data of all keys
    state INTEGER NOT NULL,             -- 0: no event yet, 1: with a history, 2: without one
    touched INTEGER NOT NULL,           -- last append, or use of an epoch without an event
    renewed INTEGER NOT NULL,           -- last renewal of a lease
    changed INTEGER NOT NULL,           -- the commit of the last append
    repeated INTEGER NOT NULL,          -- offset of the last event that was sent again
    repeated_at INTEGER NOT NULL,       -- the commit in which it was
    lease_at REAL                       -- no lease runs out before
) STRICT;
CREATE INDEX channels_changed ON channels (changed);
CREATE INDEX channels_touched ON channels (state, touched);
CREATE INDEX channels_lease_at ON channels (lease_at) WHERE lease_at IS NOT NULL;

-- The frame comes last: what stands before it is read without the pages of a large one.
CREATE TABLE events (
    channel INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    id TEXT NOT NULL,
    size INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (channel, "offset")
) STRICT, WITHOUT ROWID;

CREATE TABLE ids (
    channel INTEGER NOT NULL,
    id TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    noted INTEGER NOT NULL,
    PRIMARY KEY (channel, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ids_offset ON ids (channel, "offset", noted);

CREATE TABLE latest (
    channel INTEGER NOT NULL,
    key TEXT NOT NULL,
    last INTEGER NOT NULL,              -- offset of the last of base, notes and end
    "offset" INTEGER NOT NULL,          -- of the base; 0 without one
    size INTEGER NOT NULL,              -- data of the base
    kept_bytes INTEGER NOT NULL,        -- data of the notes and the end
    content_bytes INTEGER NOT NULL,     -- items of the parts, joined by commas
    is_trimmed INTEGER NOT NULL,
    attempt TEXT,
    ended INTEGER NOT NULL,             -- offset of the end; 0 without one
    is_lapsed INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    expires REAL,
    noted INTEGER NOT NULL,             -- offset of the newest note
    touched REAL NOT NULL,
    will_event TEXT,
    will_body BLOB,
    part_head BLOB,                     -- frame of the last part, up to its data
    frame BLOB,
    PRIMARY KEY (channel, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX latest_last ON latest (channel, last);
CREATE INDEX latest_expires ON latest (channel, expires) WHERE expires IS NOT NULL;

CREATE TABLE folded (
    channel INTEGER NOT NULL,
    key TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- part, note or end
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    frame BLOB NOT NULL,                -- of a part, the items alone
    PRIMARY KEY (channel, key, "offset")
) STRICT, WITHOUT ROWID;
