-- What the log does, made anew by every install.

-- 8 random characters of Crockford's base32.
CREATE OR REPLACE FUNCTION {schema}.new_epoch() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (get_byte(chance, n) & 31), 1), '')
    FROM (SELECT uuid_send(gen_random_uuid()) AS chance) AS made, unnest(ARRAY[0, 1, 2, 3, 4, 5, 10, 11]) AS n
$$;

-- Whether even the epoch of a channel may be forgotten.
CREATE OR REPLACE FUNCTION {schema}.is_dead(top bigint, touched timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT touched < now() - CASE WHEN top > 0 THEN interval '7 days' ELSE interval '10 minutes' END
$$;

CREATE OR REPLACE FUNCTION {schema}.forget(names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {schema}.events WHERE channel = ANY(names);
    DELETE FROM {schema}.uncarried WHERE channel = ANY(names);
    DELETE FROM {schema}.ids WHERE channel = ANY(names);
    DELETE FROM {schema}.latest WHERE channel = ANY(names);
    UPDATE {schema}.channels SET epoch = {schema}.new_epoch(), top = 0, top_id = NULL, first = 1, bytes = 0,
        touched = clock_timestamp(), changed = pg_current_xact_id(), repeated = NULL
    WHERE channel = ANY(names);
END $$;

-- Lock the channels, in order, so that nobody waits in a circle; begin those that are new or dead.
CREATE OR REPLACE FUNCTION {schema}.lock_channels(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text[] := ARRAY(SELECT DISTINCT n FROM unnest(names) AS n ORDER BY n);
    there bigint;
    dead text[];
BEGIN
    PERFORM FROM {schema}.channels WHERE channel = ANY(wanted) ORDER BY channel FOR UPDATE;
    GET DIAGNOSTICS there = ROW_COUNT;
    IF there < cardinality(wanted) THEN
        INSERT INTO {schema}.channels (channel, epoch)
        SELECT n, {schema}.new_epoch() FROM unnest(wanted) AS n ORDER BY n ON CONFLICT DO NOTHING;
        PERFORM FROM {schema}.channels WHERE channel = ANY(wanted) ORDER BY channel FOR UPDATE;
    END IF;
    dead := ARRAY(SELECT channel FROM {schema}.channels
        WHERE channel = ANY(wanted) AND {schema}.is_dead(top, touched));
    IF cardinality(dead) > 0 THEN
        PERFORM {schema}.forget(dead);
    END IF;
END $$;

-- Return where channels stand, beginning an epoch where there is none.
CREATE OR REPLACE FUNCTION {schema}.positions(names text[])
RETURNS TABLE (channel text, epoch text, top bigint, top_id text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT count(*) FROM {schema}.channels c WHERE c.channel = ANY(names) AND NOT {schema}.is_dead(c.top, c.touched))
        < cardinality(names) THEN
        PERFORM {schema}.lock_channels(names);
    END IF;
    RETURN QUERY SELECT c.channel, c.epoch, c.top, c.top_id FROM {schema}.channels c WHERE c.channel = ANY(names);
END $$;

-- Give each event the next place of its channel, unless its id is known there; in the order given.
-- An id that was made here, and not given, is known to nobody who could repeat it.
CREATE OR REPLACE FUNCTION {schema}.place(names text[], event_ids text[], sizes integer[], made boolean[])
RETURNS TABLE (n bigint, epoch text, place bigint, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.lock_channels(names);
    RETURN QUERY
    WITH given AS (
        SELECT g.n, g.name, g.id, g.size, c.epoch, c.top, coalesce(g.made, false) AS made, known."offset" AS known,
            row_number() OVER (PARTITION BY g.name, g.id ORDER BY g.n) AS nth
        FROM unnest(names, event_ids, sizes, made) WITH ORDINALITY AS g (name, id, size, made, n)
        JOIN {schema}.channels c ON c.channel = g.name
        LEFT JOIN {schema}.ids known ON known.channel = g.name AND known.id = g.id
    ), counted AS (
        SELECT given.*, known IS NULL AND nth = 1 AS fresh,
            top + count(*) FILTER (WHERE known IS NULL AND nth = 1) OVER (PARTITION BY name ORDER BY given.n) AS place
        FROM given
    ), noted AS (
        INSERT INTO {schema}.ids (channel, id, "offset") SELECT f.name, f.id, f.place FROM counted f WHERE fresh AND NOT f.made
    ), moved AS (
        UPDATE {schema}.channels c SET
            top = m.top, top_id = coalesce(m.top_id, c.top_id), bytes = c.bytes + m.bytes,
            touched = CASE WHEN m.top_id IS NULL THEN c.touched ELSE clock_timestamp() END,
            changed = pg_current_xact_id(),
            repeated = m.repeated,
            repeated_by = CASE WHEN m.repeated IS NULL THEN c.repeated_by ELSE pg_current_xact_id() END
        FROM (
            SELECT f.name, max(f.place) AS top, (array_agg(f.id ORDER BY f.place DESC) FILTER (WHERE fresh))[1] AS top_id,
                coalesce(sum(f.size) FILTER (WHERE fresh), 0) AS bytes, max(f.known) AS repeated
            FROM counted f GROUP BY f.name
        ) AS m WHERE c.channel = m.name
    )
    SELECT f.n, f.epoch, coalesce(f.known, min(f.place) OVER (PARTITION BY f.name, f.id)), NOT fresh FROM counted f;
END $$;

-- Keep a channel within its limits.
CREATE OR REPLACE FUNCTION {schema}.tidy(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held record;
    kept record;
    most record;
BEGIN
    SELECT history_events AS events, history_bytes AS bytes INTO most FROM {schema}.settings;
    SELECT top INTO held FROM {schema}.channels WHERE channel = name;
    SELECT least(min("offset"), (SELECT min(u."offset") FROM {schema}.uncarried u WHERE u.channel = name)) AS first,
        coalesce(sum(size), 0) AS bytes INTO kept
    FROM (
        SELECT "offset", octet_length(body) AS size,
            sum(octet_length(body)) OVER (ORDER BY "offset" DESC) AS total
        FROM {schema}.events WHERE channel = name AND "offset" > held.top - most.events
    ) AS sized
    WHERE total <= most.bytes OR "offset" = held.top;
    DELETE FROM {schema}.events WHERE channel = name AND "offset" < kept.first;
    UPDATE {schema}.channels SET first = coalesce(kept.first, held.top + 1), bytes = kept.bytes WHERE channel = name;
    DELETE FROM {schema}.ids WHERE channel = name AND "offset" <= held.top - 1000
        AND (noted < clock_timestamp() - interval '5 minutes' OR "offset" <= held.top - 100000);
    DELETE FROM {schema}.latest l USING (
        SELECT key, row_number() OVER newest AS nth, sum(octet_length(body)) OVER newest AS total, "time"
        FROM {schema}.latest WHERE channel = name WINDOW newest AS (ORDER BY "offset" DESC)
    ) AS old
    WHERE l.channel = name AND l.key = old.key AND old.nth > 1 AND (
        old.nth > 1000 OR old.total > 1048576
        OR old."time" < extract(epoch FROM clock_timestamp() - interval '7 days') * 1000);
END $$;

-- Do what follows numbering: the latest of each key, limits (now and then), and the wake-up.
CREATE OR REPLACE FUNCTION {schema}.settle(names text[], places bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    INSERT INTO {schema}.latest (channel, key, epoch, "offset", "time", id, event, body, source)
    SELECT DISTINCT ON (e.channel, e.key) e.channel, e.key, e.epoch, e."offset", e."time", e.id, e.event, e.body, e.source
    FROM unnest(names, places) AS placed (name, place)
    JOIN {schema}.events e ON e.channel = placed.name AND e."offset" = placed.place
    WHERE e.key IS NOT NULL
    ORDER BY e.channel, e.key, e."offset" DESC
    ON CONFLICT (channel, key) DO UPDATE SET epoch = excluded.epoch, "offset" = excluded."offset",
        "time" = excluded."time", id = excluded.id, event = excluded.event, body = excluded.body, source = excluded.source;
    FOR name IN
        SELECT c.channel
        FROM (SELECT p.name, min(p.place) AS low, max(p.place) AS high FROM unnest(names, places) AS p (name, place) GROUP BY p.name) AS run
        JOIN {schema}.channels c ON c.channel = run.name, {schema}.settings s
        WHERE c.bytes > s.history_bytes + s.history_bytes / 10
            OR ((run.low - 1) >> 6 <> run.high >> 6 AND (c.top > 1000 OR c.top - c.first >= s.history_events))
    LOOP
        PERFORM {schema}.tidy(name);
    END LOOP;
    PERFORM pg_notify({notice}, '');
END $$;

-- Append events, and return their places in the order given.
CREATE OR REPLACE FUNCTION {schema}.append(
    names text[], event_names text[], event_ids text[], bodies text[], keys text[], sources text[]
) RETURNS TABLE (n bigint, epoch text, place bigint, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    sizes integer[] := ARRAY(SELECT octet_length(b) FROM unnest(bodies) WITH ORDINALITY AS g (b, i) ORDER BY i);
    at bigint;
    placed record;
    new_names text[] := '{{}}';
    new_places bigint[] := '{{}}';
BEGIN
    FOR placed IN SELECT * FROM {schema}.place(names, event_ids, sizes, '{{}}') AS p ORDER BY p.n LOOP
        at := coalesce(at, extract(epoch FROM clock_timestamp()) * 1000);
        IF NOT placed.duplicate THEN
            INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source)
            VALUES (names[placed.n], placed.epoch, placed.place, at, event_ids[placed.n], event_names[placed.n],
                bodies[placed.n], keys[placed.n], sources[placed.n]);
            new_names := new_names || names[placed.n];
            new_places := new_places || placed.place;
        END IF;
        n := placed.n; epoch := placed.epoch; place := placed.place; duplicate := placed.duplicate;
        RETURN NEXT;
    END LOOP;
    PERFORM {schema}.settle(new_names, new_places);
END $$;

-- Number, at commit, all that the transaction wrote into the outbox.
CREATE OR REPLACE FUNCTION {schema}.number_at_commit() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    numbers bigint[];
    names text[];
    event_ids text[];
    sizes integer[];
    made boolean[];
    new_names text[];
    new_places bigint[];
    at bigint := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
    DELETE FROM {schema}.pending WHERE writer = NEW.writer;
    SELECT array_agg(number ORDER BY number), array_agg(channel ORDER BY number),
        array_agg(coalesce(id, gen_random_uuid()::text) ORDER BY number),
        array_agg(octet_length(body) ORDER BY number), array_agg(id IS NULL ORDER BY number)
    INTO numbers, names, event_ids, sizes, made
    FROM {schema}.outbox WHERE writer = NEW.writer;
    IF numbers IS NULL THEN
        RETURN NULL;
    END IF;
    WITH placed AS (
        SELECT o.channel, p.epoch, p.place, u.id, o.event, o.body, o.key, o.source
        FROM {schema}.place(names, event_ids, sizes, made) AS p
        JOIN unnest(numbers, event_ids) WITH ORDINALITY AS u (number, id, n) USING (n)
        JOIN {schema}.outbox o ON o.number = u.number AND o.writer = NEW.writer
        WHERE NOT p.duplicate
    ), written AS (
        INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source)
        SELECT channel, epoch, place, at, id, event, body, key, source FROM placed
        RETURNING channel, "offset"
    )
    SELECT array_agg(channel), array_agg("offset") INTO new_names, new_places FROM written;
    DELETE FROM {schema}.outbox WHERE writer = NEW.writer;
    INSERT INTO {schema}.uncarried (channel, "offset")
    SELECT w.name, w.place FROM unnest(new_names, new_places) AS w (name, place), {schema}.settings
    WHERE relayed;
    PERFORM {schema}.settle(coalesce(new_names, '{{}}'), coalesce(new_places, '{{}}'));
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS number_at_commit ON {schema}.pending;
CREATE CONSTRAINT TRIGGER number_at_commit AFTER INSERT ON {schema}.pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.number_at_commit();

CREATE OR REPLACE FUNCTION {schema}.note_pending() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.pending (writer) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS note_pending ON {schema}.outbox;
CREATE TRIGGER note_pending AFTER INSERT ON {schema}.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.note_pending();

-- End an epoch, if it still goes on.
CREATE OR REPLACE FUNCTION {schema}.rotate(name text, seen_epoch text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.lock_channels(ARRAY[name]);
    IF (SELECT epoch FROM {schema}.channels WHERE channel = name) = seen_epoch THEN
        PERFORM {schema}.forget(ARRAY[name]);
        PERFORM pg_notify({notice}, '');
    END IF;
END $$;

-- Return the generation of a configuration: greater than that of any other, and than the time.
CREATE OR REPLACE FUNCTION {schema}.generation_of(wanted text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT configuration, generation INTO held FROM {schema}.settings FOR UPDATE;
    IF held.configuration <> wanted THEN
        UPDATE {schema}.settings SET configuration = wanted,
            generation = greatest(held.generation + 1, extract(epoch FROM clock_timestamp())::bigint);
    END IF;
    RETURN (SELECT generation FROM {schema}.settings);
END $$;

-- Let go of what idle channels have outlived; a bounded number at a time, by one who sweeps.
CREATE OR REPLACE FUNCTION {schema}.sweep(at_once integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    swept text[];
    lived interval := (SELECT history_seconds FROM {schema}.settings) * interval '1 second';
BEGIN
    swept := ARRAY(SELECT channel FROM {schema}.channels
        WHERE first <= top AND touched < clock_timestamp() - lived
        AND NOT EXISTS (SELECT FROM {schema}.uncarried u WHERE u.channel = channels.channel)
        ORDER BY channel LIMIT at_once FOR UPDATE SKIP LOCKED);
    DELETE FROM {schema}.events WHERE channel = ANY(swept);
    UPDATE {schema}.channels SET first = top + 1, bytes = 0 WHERE channel = ANY(swept);
    WITH dead AS (
        SELECT channel FROM {schema}.channels WHERE {schema}.is_dead(top, touched)
        ORDER BY channel LIMIT at_once FOR UPDATE SKIP LOCKED
    ), ids AS (
        DELETE FROM {schema}.ids i USING dead WHERE i.channel = dead.channel
    ), latest AS (
        DELETE FROM {schema}.latest l USING dead WHERE l.channel = dead.channel
    )
    DELETE FROM {schema}.channels c USING dead WHERE c.channel = dead.channel;
    RETURN cardinality(swept);
END $$;
