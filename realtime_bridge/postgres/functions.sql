-- Functions of the log. Every install replaces them.

-- Return 8 random characters of Crockford's base32. Bytes 6 to 9 of a version-4 UUID have fixed
-- bits, so they are left out.
CREATE OR REPLACE FUNCTION {schema}.new_epoch() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (get_byte(bytes, n) & 31), 1), '')
    FROM (SELECT uuid_send(gen_random_uuid()) AS bytes) AS random, unnest(ARRAY[0, 1, 2, 3, 4, 5, 10, 11]) AS n
$$;

-- Return whether a channel expired, its epoch included: 7 days after the last append, 10 minutes
-- after its creation or its last reading if it never had an event.
CREATE OR REPLACE FUNCTION {schema}.is_expired(top bigint, appended_at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT appended_at < now() - CASE WHEN top > 0 THEN interval '7 days' ELSE interval '10 minutes' END
$$;

-- Delete all events of channels and begin a new epoch. The caller holds the channels' locks.
CREATE OR REPLACE FUNCTION {schema}.clear_channels(names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {schema}.events WHERE channel = ANY(names);
    DELETE FROM {schema}.relay_queue WHERE channel = ANY(names);
    DELETE FROM {schema}.ids WHERE channel = ANY(names);
    DELETE FROM {schema}.latest WHERE channel = ANY(names);
    DELETE FROM {schema}.owned WHERE channel = ANY(names);
    DELETE FROM {schema}.folded WHERE channel = ANY(names);
    UPDATE {schema}.channels SET epoch = {schema}.new_epoch(), top = 0, top_id = NULL, first = 1, bytes = 0,
        appended_at = clock_timestamp(), changed_by = pg_current_xact_id(), duplicate_offset = NULL,
        has_owned = false, lease_at = NULL
    WHERE channel = ANY(names);
END $$;

-- Lock channels; create the missing ones and clear the expired ones.
-- The order by name prevents deadlocks: every transaction takes its locks in the same order.
CREATE OR REPLACE FUNCTION {schema}.lock_channels(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sorted_names text[] := ARRAY(SELECT DISTINCT n FROM unnest(names) AS n ORDER BY n);
    locked bigint;
    expired text[];
BEGIN
    PERFORM FROM {schema}.channels WHERE channel = ANY(sorted_names) ORDER BY channel FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked < cardinality(sorted_names) THEN
        INSERT INTO {schema}.channels (channel, epoch)
        SELECT n, {schema}.new_epoch() FROM unnest(sorted_names) AS n ORDER BY n ON CONFLICT DO NOTHING;
        -- Another transaction may have inserted a channel first: DO NOTHING locks no row then.
        PERFORM FROM {schema}.channels WHERE channel = ANY(sorted_names) ORDER BY channel FOR UPDATE;
    END IF;
    expired := ARRAY(SELECT channel FROM {schema}.channels
        WHERE channel = ANY(sorted_names) AND {schema}.is_expired(top, appended_at));
    IF cardinality(expired) > 0 THEN
        PERFORM {schema}.clear_channels(expired);
    END IF;
END $$;

-- Return whether half of the time of an epoch without an event is over.
CREATE OR REPLACE FUNCTION {schema}.is_fading(top bigint, appended_at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT top = 0 AND appended_at < now() - interval '5 minutes'
$$;

-- Return the tops of channels, and begin an epoch where there is none.
-- Reads take no lock unless a channel is missing, expired or fading.
CREATE OR REPLACE FUNCTION {schema}.positions(names text[])
RETURNS TABLE (channel text, epoch text, top bigint, top_id text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    fading text[];
BEGIN
    IF (SELECT count(*) FROM {schema}.channels c WHERE c.channel = ANY(names) AND NOT {schema}.is_expired(c.top, c.appended_at))
        < cardinality(names) THEN
        PERFORM {schema}.lock_channels(names);
    END IF;
    IF EXISTS (SELECT FROM {schema}.channels c WHERE c.channel = ANY(names) AND c.lease_at <= clock_timestamp()) THEN
        BEGIN
            PERFORM {schema}.lock_channels(names);
            PERFORM {schema}.lapse_channels(names);
        EXCEPTION WHEN insufficient_resources OR read_only_sql_transaction THEN
            RAISE WARNING 'owners not ended: %', SQLERRM;  -- a read goes on where nothing can be written
        END;
    END IF;
    fading := ARRAY(SELECT c.channel FROM {schema}.channels c WHERE c.channel = ANY(names) AND {schema}.is_fading(c.top, c.appended_at));
    IF cardinality(fading) > 0 THEN
        BEGIN  -- another epoch would be a gap for those who read this one
            PERFORM {schema}.lock_channels(fading);
            UPDATE {schema}.channels c SET appended_at = clock_timestamp() WHERE c.channel = ANY(fading) AND c.top = 0;
        EXCEPTION WHEN insufficient_resources OR read_only_sql_transaction THEN
            RAISE WARNING 'epochs not kept: %', SQLERRM;
        END;
    END IF;
    RETURN QUERY SELECT c.channel, c.epoch, c.top, c.top_id FROM {schema}.channels c WHERE c.channel = ANY(names);
END $$;

-- Assign to each event the next offset of its channel, in the order of the arguments. An id that
-- the channel has already, or that comes twice here, keeps its first offset and is a duplicate.
-- A generated id is not stored in ids: no client can send it again.
CREATE OR REPLACE FUNCTION {schema}.assign_offsets(names text[], event_ids text[], sizes integer[], generated boolean[])
RETURNS TABLE (n bigint, epoch text, "offset" bigint, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.lock_channels(names);
    RETURN QUERY
    WITH given AS (
        SELECT g.n, g.name, g.id, g.size, c.epoch, c.top, coalesce(g.generated, false) AS generated, known."offset" AS known,
            row_number() OVER (PARTITION BY g.name, g.id ORDER BY g.n) AS nth
        FROM unnest(names, event_ids, sizes, generated) WITH ORDINALITY AS g (name, id, size, generated, n)
        JOIN {schema}.channels c ON c.channel = g.name
        LEFT JOIN {schema}.ids known ON known.channel = g.name AND known.id = g.id
    ), counted AS (
        SELECT given.*, known IS NULL AND nth = 1 AS fresh,
            top + count(*) FILTER (WHERE known IS NULL AND nth = 1) OVER (PARTITION BY name ORDER BY given.n) AS new_offset
        FROM given
    ), stored_ids AS (
        INSERT INTO {schema}.ids (channel, id, "offset") SELECT f.name, f.id, f.new_offset FROM counted f WHERE fresh AND NOT f.generated
    ), moved_channels AS (
        UPDATE {schema}.channels c SET
            top = m.top, top_id = coalesce(m.top_id, c.top_id), bytes = c.bytes + m.bytes,
            appended_at = CASE WHEN m.top_id IS NULL THEN c.appended_at ELSE clock_timestamp() END,
            changed_by = pg_current_xact_id(),
            duplicate_offset = m.duplicate_offset,
            duplicate_by = CASE WHEN m.duplicate_offset IS NULL THEN c.duplicate_by ELSE pg_current_xact_id() END
        FROM (
            SELECT f.name, max(f.new_offset) AS top, (array_agg(f.id ORDER BY f.new_offset DESC) FILTER (WHERE fresh))[1] AS top_id,
                coalesce(sum(f.size) FILTER (WHERE fresh), 0) AS bytes, max(f.known) AS duplicate_offset
            FROM counted f GROUP BY f.name
        ) AS m WHERE c.channel = m.name
    )
    SELECT f.n, f.epoch, coalesce(f.known, min(f.new_offset) OVER (PARTITION BY f.name, f.id)), NOT fresh FROM counted f;
END $$;

-- Delete events, ids and keys beyond a channel's limits. The limits of ids (the last 1,000, or all
-- of 5 minutes, at most 100,000) and of keys (1,000, 4 MiB, 7 days) are those of the specification.
-- An event that waits for the relay stays, and with it all later events: the history has no holes.
CREATE OR REPLACE FUNCTION {schema}.trim_channel(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    state record;
    history record;
    max_history record;
BEGIN
    SELECT history_events AS events, history_bytes AS bytes INTO max_history FROM {schema}.settings;
    SELECT top INTO state FROM {schema}.channels WHERE channel = name;
    SELECT least(min("offset"), (SELECT min(q."offset") FROM {schema}.relay_queue q WHERE q.channel = name)) AS first,
        coalesce(sum(size), 0) AS bytes INTO history
    FROM (
        SELECT "offset", octet_length(body) AS size,
            sum(octet_length(body)) OVER (ORDER BY "offset" DESC) AS total
        FROM {schema}.events WHERE channel = name AND "offset" > state.top - max_history.events
    ) AS sized
    WHERE total <= max_history.bytes OR "offset" = state.top;
    DELETE FROM {schema}.events WHERE channel = name AND "offset" < history.first;
    UPDATE {schema}.channels SET first = coalesce(history.first, state.top + 1), bytes = history.bytes WHERE channel = name;
    DELETE FROM {schema}.ids WHERE channel = name AND "offset" <= state.top - 1000
        AND (added_at < clock_timestamp() - interval '5 minutes' OR "offset" <= state.top - 100000);
    -- Most channels have no keys: a plain append is spared this statement.
    IF EXISTS (SELECT FROM {schema}.latest l WHERE l.channel = name)
        OR EXISTS (SELECT FROM {schema}.owned o WHERE o.channel = name) THEN
        WITH every AS (
            SELECT coalesce(l.key, o.key) AS key, coalesce(o.touched, l."offset") AS touched,
                coalesce(o.touched_at, to_timestamp(l."time" / 1000.0)) AS touched_at,
                coalesce(octet_length(l.body), 0) + coalesce(o.items_bytes, 0) AS size
            FROM (SELECT * FROM {schema}.latest WHERE channel = name) AS l
            FULL JOIN (SELECT * FROM {schema}.owned WHERE channel = name) AS o ON o.key = l.key
        ), numbered AS (
            SELECT key, row_number() OVER newest AS nth, sum(size) OVER newest AS total, touched_at
            FROM every WINDOW newest AS (ORDER BY touched DESC)
        ), old AS (
            SELECT key FROM numbered
            WHERE nth > 1 AND (nth > 1000 OR total > 4194304 OR touched_at < clock_timestamp() - interval '7 days')
        ), removed_owned AS (
            DELETE FROM {schema}.owned o USING old WHERE o.channel = name AND o.key = old.key
        ), removed_folded AS (
            DELETE FROM {schema}.folded f USING old WHERE f.channel = name AND f.key = old.key
        )
        DELETE FROM {schema}.latest l USING old WHERE l.channel = name AND l.key = old.key;
    END IF;
END $$;

-- Store the latest of these events for each key; parts, notes and ends replace nothing.
-- In plpgsql, which keeps the plan: a function in SQL makes it again for each append.
CREATE OR REPLACE FUNCTION {schema}.store_latest(names text[], offsets bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.latest (channel, key, epoch, "offset", "time", id, event, body, source, attempt)
    SELECT DISTINCT ON (e.channel, e.key)
        e.channel, e.key, e.epoch, e."offset", e."time", e.id, e.event, e.body, e.source, e.attempt
    FROM unnest(names, offsets) AS appended (name, "offset")
    JOIN {schema}.events e ON e.channel = appended.name AND e."offset" = appended."offset"
    WHERE e.key IS NOT NULL AND e.fold IS NULL
    ORDER BY e.channel, e.key, e."offset" DESC
    ON CONFLICT (channel, key) DO UPDATE SET epoch = excluded.epoch, "offset" = excluded."offset",
        "time" = excluded."time", id = excluded.id, event = excluded.event, body = excluded.body,
        source = excluded.source, attempt = excluded.attempt;
END $$;

-- Finish an append: trim channels, and notify listeners.
-- Trimming runs once per 64 offsets, or 10 % over the limit of bytes: each run scans the history.
CREATE OR REPLACE FUNCTION {schema}.finish_append(names text[], offsets bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.channel
        FROM (SELECT a.name, min(a."offset") AS low, max(a."offset") AS high
            FROM unnest(names, offsets) AS a (name, "offset") GROUP BY a.name) AS run
        JOIN {schema}.channels c ON c.channel = run.name, {schema}.settings s
        WHERE c.bytes > s.history_bytes + s.history_bytes / 10
            OR ((run.low - 1) >> 6 <> run.high >> 6 AND (c.top > 1000 OR c.top - c.first >= s.history_events))
    LOOP
        PERFORM {schema}.trim_channel(name);
    END LOOP;
    -- An empty payload: PostgreSQL merges equal notifications of one transaction into one.
    PERFORM pg_notify({notice}, '');
END $$;

-- Append events, and return their positions in the order of the arguments.
DROP FUNCTION IF EXISTS {schema}.append(text[], text[], text[], text[], text[], text[]);  -- without traceparents
CREATE OR REPLACE FUNCTION {schema}.append(
    names text[], event_names text[], event_ids text[], bodies text[], keys text[], sources text[],
    traceparents text[] DEFAULT NULL
) RETURNS TABLE (n bigint, epoch text, "offset" bigint, duplicate boolean, refused text, noted bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    sizes integer[] := ARRAY(SELECT octet_length(b) FROM unnest(bodies) WITH ORDINALITY AS g (b, i) ORDER BY i);
    at bigint;
    assigned record;
    new_names text[] := '{{}}';
    new_offsets bigint[] := '{{}}';
    none text[];
BEGIN
    -- A key with an owner refuses events, and a silent owner is ended after this append.
    IF EXISTS (SELECT FROM {schema}.channels c WHERE c.channel = ANY(names) AND c.has_owned) THEN
        none := array_fill(NULL::text, ARRAY[cardinality(names)]);
        RETURN QUERY SELECT * FROM {schema}.append_owned(names, event_names, event_ids, bodies, keys, sources,
            none, none, none, none::integer[], none, none, traceparents);
        RETURN;
    END IF;
    FOR assigned IN SELECT * FROM {schema}.assign_offsets(names, event_ids, sizes, '{{}}') AS a ORDER BY a.n LOOP
        -- Read the clock under the lock: a channel's times then grow with its offsets.
        at := coalesce(at, extract(epoch FROM clock_timestamp()) * 1000);
        IF NOT assigned.duplicate THEN
            INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source, traceparent)
            VALUES (names[assigned.n], assigned.epoch, assigned."offset", at, event_ids[assigned.n], event_names[assigned.n],
                bodies[assigned.n], keys[assigned.n], sources[assigned.n], traceparents[assigned.n]);
            new_names := new_names || names[assigned.n];
            new_offsets := new_offsets || assigned."offset";
        END IF;
        n := assigned.n; epoch := assigned.epoch; "offset" := assigned."offset"; duplicate := assigned.duplicate; noted := 0;
        RETURN NEXT;
    END LOOP;
    IF cardinality(array_remove(keys, NULL)) > 0 THEN
        PERFORM {schema}.store_latest(new_names, new_offsets);
    END IF;
    PERFORM {schema}.finish_append(new_names, new_offsets);
END $$;

-- Append, at commit, all rows that the transaction inserted into the outbox. It runs deferred, so
-- that channels are locked for the time of the commit only, not for that of the transaction.
-- SECURITY DEFINER: an application's role needs INSERT on the outbox alone. jit = off: compiling
-- takes longer than the statement.
CREATE OR REPLACE FUNCTION {schema}.append_outbox_at_commit() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    numbers bigint[];
    names text[];
    event_ids text[];
    sizes integer[];
    generated boolean[];
    new_names text[];
    new_offsets bigint[];
    at bigint := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
    DELETE FROM {schema}.outbox_transactions WHERE writer = NEW.writer;
    SELECT array_agg(number ORDER BY number), array_agg(channel ORDER BY number),
        array_agg(coalesce(id, gen_random_uuid()::text) ORDER BY number),
        array_agg(octet_length(body) ORDER BY number), array_agg(id IS NULL ORDER BY number)
    INTO numbers, names, event_ids, sizes, generated
    FROM {schema}.outbox WHERE writer = NEW.writer;
    IF numbers IS NULL THEN
        RETURN NULL;
    END IF;
    WITH assigned AS (
        SELECT o.channel, a.epoch, a."offset", u.id, o.event, {schema}.compact_json(o.body) AS body, o.key, o.source,
            {schema}.valid_traceparent(o.traceparent) AS traceparent
        FROM {schema}.assign_offsets(names, event_ids, sizes, generated) AS a
        JOIN unnest(numbers, event_ids) WITH ORDINALITY AS u (number, id, n) USING (n)
        JOIN {schema}.outbox o ON o.number = u.number AND o.writer = NEW.writer
        WHERE NOT a.duplicate
    ), appended AS (
        INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source, traceparent)
        SELECT channel, epoch, "offset", at, id, event, body, key, source, traceparent FROM assigned
        RETURNING channel, "offset"
    )
    SELECT array_agg(channel), array_agg("offset") INTO new_names, new_offsets FROM appended;
    DELETE FROM {schema}.outbox WHERE writer = NEW.writer;
    INSERT INTO {schema}.relay_queue (channel, "offset")
    SELECT a.name, a."offset" FROM unnest(new_names, new_offsets) AS a (name, "offset"), {schema}.settings
    WHERE relay_enabled;
    PERFORM {schema}.store_latest(coalesce(new_names, '{{}}'), coalesce(new_offsets, '{{}}'));
    IF EXISTS (SELECT FROM {schema}.channels c WHERE c.channel = ANY(new_names) AND c.has_owned) THEN
        PERFORM {schema}.fold_outbox(new_names, new_offsets);
    END IF;
    PERFORM {schema}.finish_append(coalesce(new_names, '{{}}'), coalesce(new_offsets, '{{}}'));
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS append_outbox_at_commit ON {schema}.outbox_transactions;
CREATE CONSTRAINT TRIGGER append_outbox_at_commit AFTER INSERT ON {schema}.outbox_transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.append_outbox_at_commit();

-- Register the current transaction, whose commit appends the outbox.
CREATE OR REPLACE FUNCTION {schema}.register_transaction() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A watch may have found no event to insert: then this transaction needs no id.
    IF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO {schema}.outbox_transactions (writer) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS register_transaction ON {schema}.outbox;
CREATE TRIGGER register_transaction AFTER INSERT ON {schema}.outbox
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {schema}.register_transaction();

-- A role that may call these could make them run on a table with its own types and casts, and so
-- get the rights of the schema's owner. A trigger that exists runs without this right.
REVOKE ALL ON FUNCTION {schema}.append_outbox_at_commit(), {schema}.register_transaction() FROM PUBLIC;

-- Begin a new epoch if `expected_epoch` is still the channel's. The comparison runs under the lock,
-- so of several callers with the same expectation one rotates. The latest event of each key stays:
-- these events get the offsets from 1 on, as if all but the last one had been trimmed. Their ids are
-- not known: a publisher may append them again.
CREATE OR REPLACE FUNCTION {schema}.rotate_epoch(name text, expected_epoch text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    begun text := {schema}.new_epoch();
    newest record;
BEGIN
    PERFORM {schema}.lock_channels(ARRAY[name]);
    IF (SELECT epoch FROM {schema}.channels WHERE channel = name) <> expected_epoch THEN
        RETURN;
    END IF;
    DELETE FROM {schema}.events WHERE channel = name;
    DELETE FROM {schema}.relay_queue WHERE channel = name;
    DELETE FROM {schema}.ids WHERE channel = name;
    PERFORM {schema}.move_groups(name, begun);
    INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source, fold, attempt)
    SELECT * FROM (
        SELECT l.channel, l.epoch, l."offset", l."time", l.id, l.event, l.body, l.key, l.source, NULL AS fold, l.attempt
        FROM {schema}.latest l WHERE l.channel = name
        UNION ALL
        SELECT f.channel, f.epoch, f."offset", f."time", f.id, f.event, f.body, f.key, f.source, f.fold, f.attempt
        FROM {schema}.folded f WHERE f.channel = name
    ) AS moved ORDER BY "offset" DESC LIMIT 1
    RETURNING "offset" AS top, id, octet_length(body) AS bytes INTO newest;
    UPDATE {schema}.channels SET epoch = begun, top = coalesce(newest.top, 0), top_id = newest.id,
        first = coalesce(newest.top, 1), bytes = coalesce(newest.bytes, 0),
        appended_at = clock_timestamp(), changed_by = pg_current_xact_id(), duplicate_offset = NULL
    WHERE channel = name;
    PERFORM pg_notify({notice}, '');
END $$;

-- Return the generation of a configuration. A new configuration gets a number above every earlier
-- one, and at least the Unix time in seconds, as a log in memory has.
CREATE OR REPLACE FUNCTION {schema}.generation_for(requested text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    stored record;
BEGIN
    SELECT configuration, generation INTO stored FROM {schema}.settings;
    IF stored.configuration = requested THEN  -- a lock is a write, which a full disk refuses
        RETURN stored.generation;
    END IF;
    SELECT configuration, generation INTO stored FROM {schema}.settings FOR UPDATE;
    IF stored.configuration <> requested THEN
        UPDATE {schema}.settings SET configuration = requested,
            generation = greatest(stored.generation + 1, extract(epoch FROM clock_timestamp())::bigint);
    END IF;
    RETURN (SELECT generation FROM {schema}.settings);
END $$;

-- End silent owners, delete the history of idle channels, then expired channels, at most `max_channels`
-- of each.
-- SKIP LOCKED: several listeners may run this at the same time, and no append waits for it.
CREATE OR REPLACE FUNCTION {schema}.expire_channels(max_channels integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    idle_names text[];
    lifetime interval := (SELECT history_seconds FROM {schema}.settings) * interval '1 second';
    silent_names text[];
BEGIN
    silent_names := ARRAY(SELECT channel FROM {schema}.channels WHERE lease_at <= clock_timestamp()
        ORDER BY channel LIMIT max_channels FOR UPDATE SKIP LOCKED);
    PERFORM {schema}.lapse_channels(silent_names);
    PERFORM {schema}.drop_idle_items(ARRAY(SELECT channel FROM {schema}.channels
        WHERE has_owned AND greatest(appended_at, renewed_at) < clock_timestamp() - lifetime
        ORDER BY channel LIMIT max_channels FOR UPDATE SKIP LOCKED));
    idle_names := ARRAY(SELECT channel FROM {schema}.channels
        WHERE first <= top AND appended_at < clock_timestamp() - lifetime
        AND NOT EXISTS (SELECT FROM {schema}.relay_queue q WHERE q.channel = channels.channel)
        ORDER BY channel LIMIT max_channels FOR UPDATE SKIP LOCKED);
    DELETE FROM {schema}.events WHERE channel = ANY(idle_names);
    UPDATE {schema}.channels SET first = top + 1, bytes = 0 WHERE channel = ANY(idle_names);
    WITH expired AS (
        SELECT channel FROM {schema}.channels WHERE {schema}.is_expired(top, appended_at)
        ORDER BY channel LIMIT max_channels FOR UPDATE SKIP LOCKED
    ), ids AS (
        DELETE FROM {schema}.ids i USING expired WHERE i.channel = expired.channel
    ), latest AS (
        DELETE FROM {schema}.latest l USING expired WHERE l.channel = expired.channel
    ), owned AS (
        DELETE FROM {schema}.owned o USING expired WHERE o.channel = expired.channel
    ), folded AS (
        DELETE FROM {schema}.folded f USING expired WHERE f.channel = expired.channel
    )
    DELETE FROM {schema}.channels c USING expired WHERE c.channel = expired.channel;
    RETURN cardinality(idle_names);
END $$;
