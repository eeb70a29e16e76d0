-- Functions of keys with owners; docs/specification.md §2.6 has the rules.
-- All of them but latest_groups run while the caller holds the locks of the channels.

-- Return the reason for which an event is refused, or NULL. The first line that matches decides.
CREATE OR REPLACE FUNCTION {schema}.refusal(
    name text, event_key text, body text, fold text, attempt text, take text
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    state {schema}.owned;
    items integer := octet_length(body) - 2;
BEGIN
    SELECT * INTO state FROM {schema}.owned o WHERE o.channel = name AND o.key = event_key;
    RETURN CASE
        WHEN fold = 'note' THEN CASE
            WHEN state.key IS NULL AND NOT EXISTS (SELECT FROM {schema}.latest l WHERE l.channel = name AND l.key = event_key)
                THEN 'gone'
            WHEN state.ended = 'end' THEN 'ended' END
        WHEN attempt IS NULL THEN CASE WHEN state.attempt IS NOT NULL THEN 'owned' END
        WHEN take = 'always' THEN NULL
        WHEN take = 'open' THEN CASE WHEN state.ended = 'end' THEN 'ended' END
        WHEN state.attempt IS NULL THEN CASE WHEN take IS DISTINCT FROM 'absent' THEN 'gone' END
        WHEN state.attempt <> attempt THEN 'superseded'
        WHEN state.ended = 'end' THEN 'ended'
        WHEN fold = 'append' AND 2 + state.items_bytes + items + (state.items_bytes > 0 AND items > 0)::integer > {max_bytes}
            THEN 'full'
    END;
END $$;

-- Give an event the next offset of its channel, and store it; return the offset.
DROP FUNCTION IF EXISTS {schema}.place(text, text, text, text, text, text, text, text, bigint);  -- without traceparent
CREATE OR REPLACE FUNCTION {schema}.place(
    name text, event_name text, event_id text, body text, event_key text, source text, fold text, attempt text, at bigint,
    traceparent text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    placed record;
BEGIN
    UPDATE {schema}.channels c SET top = c.top + 1, top_id = event_id, bytes = c.bytes + octet_length(body),
        appended_at = clock_timestamp(), changed_by = pg_current_xact_id()
    WHERE c.channel = name RETURNING c.epoch, c.top INTO placed;
    INSERT INTO {schema}.ids (channel, id, "offset") VALUES (name, event_id, placed.top);
    INSERT INTO {schema}.events (channel, epoch, "offset", "time", id, event, body, key, source, fold, attempt, traceparent)
    VALUES (name, placed.epoch, placed.top, at, event_id, event_name, body, event_key, source, fold, attempt, traceparent);
    RETURN placed.top;
END $$;

-- Fold a stored event into the state of its key. The lease begins at `moment`, which the events of one
-- batch share.
CREATE OR REPLACE FUNCTION {schema}.fold_event(
    name text, event_key text, event_offset bigint, moment timestamptz,
    take text, lease_seconds integer, new_will_event text, new_will_body text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    e {schema}.events;
    state {schema}.owned;
    items integer;
    removed bigint;
BEGIN
    SELECT * INTO e FROM {schema}.events v WHERE v.channel = name AND v."offset" = event_offset;
    SELECT * INTO state FROM {schema}.owned o WHERE o.channel = name AND o.key = event_key;
    IF state.key IS NULL THEN
        state.channel := name; state.key := event_key; state.noted := 0; state.items_bytes := 0; state.is_trimmed := false;
        state.shown := coalesce((SELECT l."offset" FROM {schema}.latest l WHERE l.channel = name AND l.key = event_key), 0);
    END IF;
    state.touched := event_offset; state.touched_at := clock_timestamp();
    IF e.fold IS NULL OR e.fold = 'append' THEN
        DELETE FROM {schema}.folded f WHERE f.channel = name AND f.key = event_key
            AND (f.fold IN ('end', 'lapse') OR (e.fold IS NULL AND f.fold = 'append'));
        state.ended := NULL;
    END IF;
    IF e.fold IS NULL THEN
        state.items_bytes := 0; state.is_trimmed := false; state.shown := event_offset;
    ELSIF e.fold = 'append' THEN
        -- The end of a lapse is gone: the last event without the parts is an earlier one.
        state.shown := greatest(state.noted,
            coalesce((SELECT l."offset" FROM {schema}.latest l WHERE l.channel = name AND l.key = event_key), 0));
        IF NOT state.is_trimmed THEN
            items := octet_length(e.body) - 2;
            state.items_bytes := state.items_bytes + items + (state.items_bytes > 0 AND items > 0)::integer;
        END IF;
    ELSE
        state.shown := event_offset;
        IF e.fold = 'note' THEN
            DELETE FROM {schema}.folded f WHERE f.channel = name AND f.key = event_key AND f.fold = 'note'
                AND (f.event = e.event OR f."offset" IN (
                    SELECT older."offset" FROM {schema}.folded older
                    WHERE older.channel = name AND older.key = event_key AND older.fold = 'note' AND older.event <> e.event
                    ORDER BY older."offset" DESC OFFSET 7));
            state.noted := event_offset;
        ELSE
            -- Notes were for the run that ended: the next one must not follow them.
            DELETE FROM {schema}.folded f WHERE f.channel = name AND f.key = event_key
                AND (f.fold IN ('end', 'lapse') OR (e.fold = 'end' AND f.fold = 'note'));
            state.ended := e.fold;
            IF e.fold = 'end' THEN state.noted := 0; END IF;
        END IF;
    END IF;
    IF e.fold IS NOT NULL AND NOT (e.fold = 'append' AND state.is_trimmed) THEN
        INSERT INTO {schema}.folded (channel, key, "offset", fold, epoch, "time", id, event, body, source, attempt)
        VALUES (name, event_key, event_offset, e.fold, e.epoch, e."time", e.id, e.event, e.body, e.source, e.attempt);
    END IF;
    IF e.fold IS DISTINCT FROM 'note' THEN
        IF take IS NOT NULL THEN
            state.attempt := e.attempt;
            state.lease := nullif(lease_seconds, 0) * interval '1 second';
            state.will_event := new_will_event; state.will_body := new_will_body;
        ELSIF lease_seconds = 0 THEN
            state.lease := NULL; state.will_event := NULL; state.will_body := NULL;
        END IF;
        state.expires := CASE WHEN state.ended IS NULL THEN moment + state.lease END;
    END IF;
    INSERT INTO {schema}.owned SELECT state.* ON CONFLICT (channel, key) DO UPDATE SET attempt = excluded.attempt,
        ended = excluded.ended, lease = excluded.lease, expires = excluded.expires, will_event = excluded.will_event,
        will_body = excluded.will_body, shown = excluded.shown, touched = excluded.touched, touched_at = excluded.touched_at,
        noted = excluded.noted, items_bytes = excluded.items_bytes, is_trimmed = excluded.is_trimmed;
END $$;

-- Store when the next lease of each channel runs out.
CREATE OR REPLACE FUNCTION {schema}.store_lease_times(names text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE {schema}.channels c SET has_owned = true,
        lease_at = (SELECT min(o.expires) FROM {schema}.owned o WHERE o.channel = c.channel)
    WHERE c.channel = ANY(names) AND EXISTS (SELECT FROM {schema}.owned o WHERE o.channel = c.channel)
$$;

-- Remove the items of idle channels, as their history is removed.
CREATE OR REPLACE FUNCTION {schema}.drop_idle_items(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    idle text[] := ARRAY(SELECT c.channel FROM {schema}.channels c, {schema}.settings s
        WHERE c.channel = ANY(names) AND c.has_owned
        AND greatest(c.appended_at, c.renewed_at) < clock_timestamp() - s.history_seconds * interval '1 second');
BEGIN
    UPDATE {schema}.owned o SET items_bytes = 0, is_trimmed = true WHERE o.channel = ANY(idle)
        AND EXISTS (SELECT FROM {schema}.folded f WHERE f.channel = o.channel AND f.key = o.key AND f.fold = 'append');
    DELETE FROM {schema}.folded f WHERE f.channel = ANY(idle) AND f.fold = 'append';
END $$;

-- End the keys whose leases ran out: those of `first_keys` before the others, by expiry and key.
CREATE OR REPLACE FUNCTION {schema}.lapse_channels(names text[], first_keys text[] DEFAULT '{{}}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    due record;
    at bigint := extract(epoch FROM clock_timestamp()) * 1000;
    placed bigint;
    new_names text[] := '{{}}';
    new_offsets bigint[] := '{{}}';
BEGIN
    FOR due IN
        SELECT o.* FROM {schema}.owned o
        WHERE o.channel = ANY(names) AND o.expires <= clock_timestamp()
        ORDER BY o.channel, o.key <> ALL(first_keys), o.expires, o.key COLLATE "C"
    LOOP
        placed := (SELECT c.top + 1 FROM {schema}.channels c WHERE c.channel = due.channel);
        PERFORM {schema}.place(due.channel, due.will_event, due.attempt || '-lapse-' || placed, due.will_body, due.key, NULL,
            'lapse', due.attempt, at);
        PERFORM {schema}.fold_event(due.channel, due.key, placed, clock_timestamp(), NULL, NULL, NULL, NULL);
        new_names := new_names || due.channel;
        new_offsets := new_offsets || placed;
    END LOOP;
    IF cardinality(new_names) > 0 THEN
        PERFORM {schema}.store_lease_times(names);
        PERFORM {schema}.finish_append(new_names, new_offsets);
    END IF;
END $$;

-- Append events one after the other, because a refused one gets no offset. Return, in the order of the
-- arguments, what `append` returns, and the reason of a refusal and the offset of the key's newest note.
DROP FUNCTION IF EXISTS {schema}.append_owned(text[], text[], text[], text[], text[], text[],
    text[], text[], text[], integer[], text[], text[]);  -- without traceparents
CREATE OR REPLACE FUNCTION {schema}.append_owned(
    names text[], event_names text[], event_ids text[], bodies text[], keys text[], sources text[],
    folds text[], attempts text[], takes text[], leases integer[], will_events text[], will_bodies text[],
    traceparents text[] DEFAULT NULL
) RETURNS TABLE (n bigint, epoch text, "offset" bigint, duplicate boolean, refused text, noted bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;
    at bigint;
    known bigint;
    reason text;
    placed bigint;
    new_names text[] := '{{}}';
    new_offsets bigint[] := '{{}}';
BEGIN
    PERFORM {schema}.lock_channels(names);
    PERFORM {schema}.drop_idle_items(names);
    -- Read the clock under the lock: a channel's times then grow with its offsets.
    moment := clock_timestamp();
    at := extract(epoch FROM moment) * 1000;
    FOR i IN 1 .. cardinality(names) LOOP
        known := (SELECT k."offset" FROM {schema}.ids k WHERE k.channel = names[i] AND k.id = event_ids[i]);
        reason := NULL; placed := known;
        IF known IS NOT NULL THEN
            UPDATE {schema}.channels c SET duplicate_offset = known, duplicate_by = pg_current_xact_id(),
                changed_by = pg_current_xact_id() WHERE c.channel = names[i];
        ELSE
            IF keys[i] IS NOT NULL THEN
                reason := {schema}.refusal(names[i], keys[i], bodies[i], folds[i], attempts[i], takes[i]);
            END IF;
            IF reason IS NULL THEN
                placed := {schema}.place(names[i], event_names[i], event_ids[i], bodies[i], keys[i], sources[i], folds[i],
                    attempts[i], at, traceparents[i]);
                IF keys[i] IS NOT NULL AND (folds[i] IS NOT NULL OR attempts[i] IS NOT NULL
                    OR EXISTS (SELECT FROM {schema}.owned o WHERE o.channel = names[i] AND o.key = keys[i])) THEN
                    PERFORM {schema}.fold_event(names[i], keys[i], placed, moment, takes[i], leases[i], will_events[i], will_bodies[i]);
                END IF;
                -- At once: a later event of the batch looks for the key.
                PERFORM {schema}.store_latest(ARRAY[names[i]], ARRAY[placed]);
                new_names := new_names || names[i];
                new_offsets := new_offsets || placed;
            END IF;
        END IF;
        n := i; epoch := (SELECT c.epoch FROM {schema}.channels c WHERE c.channel = names[i]);
        "offset" := placed; duplicate := known IS NOT NULL; refused := reason;
        noted := coalesce((SELECT o.noted FROM {schema}.owned o WHERE o.channel = names[i] AND o.key = keys[i]), 0);
        RETURN NEXT;
    END LOOP;
    PERFORM {schema}.store_lease_times(names);
    PERFORM {schema}.lapse_channels(names);
    PERFORM {schema}.finish_append(new_names, new_offsets);
END $$;

-- Fold events of transactions, which replace the base; the owner stays.
CREATE OR REPLACE FUNCTION {schema}.fold_outbox(names text[], offsets bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    replacing record;
BEGIN
    FOR replacing IN
        SELECT a.name, e.key, max(a."offset") AS "offset" FROM unnest(names, offsets) AS a (name, "offset")
        JOIN {schema}.events e ON e.channel = a.name AND e."offset" = a."offset"
        JOIN {schema}.owned o ON o.channel = e.channel AND o.key = e.key
        GROUP BY a.name, e.key
    LOOP
        PERFORM {schema}.fold_event(replacing.name, replacing.key, replacing."offset", clock_timestamp(), NULL, NULL, NULL, NULL);
    END LOOP;
    PERFORM {schema}.store_lease_times(names);
END $$;

-- Restart leases. Return, in the order of the arguments, the reason for which one was not renewed or '',
-- and the offset of the key's newest note.
CREATE OR REPLACE FUNCTION {schema}.renew(names text[], keys text[], attempts text[])
RETURNS TABLE (n bigint, refused text, noted bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;  -- the leases of one call run out together
BEGIN
    PERFORM {schema}.lock_channels(names);
    PERFORM {schema}.lapse_channels(names, keys);
    moment := clock_timestamp();
    RETURN QUERY
    SELECT g.n, CASE
        WHEN o.attempt IS NULL THEN 'gone'
        WHEN o.attempt <> g.attempt THEN 'superseded'
        WHEN o.ended = 'end' THEN 'ended'
        WHEN o.ended = 'lapse' THEN 'lapsed'
        ELSE '' END, coalesce(o.noted, 0)
    FROM unnest(names, keys, attempts) WITH ORDINALITY AS g (name, key, attempt, n)
    LEFT JOIN {schema}.owned o ON o.channel = g.name AND o.key = g.key
    ORDER BY g.n;
    UPDATE {schema}.owned o SET expires = moment + o.lease, touched_at = moment
    FROM unnest(names, keys, attempts) AS g (name, key, attempt)
    WHERE o.channel = g.name AND o.key = g.key AND o.attempt = g.attempt AND o.ended IS NULL;
    UPDATE {schema}.channels c SET renewed_at = clock_timestamp() WHERE c.channel = ANY(names) AND c.has_owned;
    PERFORM {schema}.store_lease_times(names);
END $$;

-- Return the events that describe the state of each key, by the offset of its last event beyond `after`.
-- With `only_key`, those of that key, with its parts as one event; the parts of the others are left out.
DROP FUNCTION IF EXISTS {schema}.latest_groups(text, bigint, integer, text);  -- of another result type
CREATE OR REPLACE FUNCTION {schema}.latest_groups(name text, after bigint, max_keys integer, only_key text)
RETURNS TABLE (
    shown bigint, channel text, epoch text, "offset" bigint, "time" bigint, id text, event text, body text, key text,
    source text, fold text, attempt text, traceparent text
) LANGUAGE sql STABLE AS $$
    WITH chosen AS (
        SELECT k.key, k.shown FROM (
            SELECT l.key, l."offset" AS shown, l."time" >= extract(epoch FROM now() - interval '7 days') * 1000 AS is_fresh
            FROM {schema}.latest l WHERE l.channel = name
                AND NOT EXISTS (SELECT FROM {schema}.owned o WHERE o.channel = name AND o.key = l.key)
            UNION ALL
            SELECT o.key, o.shown, o.touched_at >= now() - interval '7 days' FROM {schema}.owned o WHERE o.channel = name
        ) AS k
        WHERE k.is_fresh AND k.shown > after AND (only_key IS NULL OR k.key = only_key)
        ORDER BY k.shown LIMIT max_keys
    ), parts AS (
        SELECT f.key, max(f."offset") AS "offset",
            '[' || coalesce(string_agg(substr(f.body, 2, length(f.body) - 2), ',' ORDER BY f."offset")
                FILTER (WHERE f.body <> '[]'), '') || ']' AS body
        FROM {schema}.folded f
        JOIN {schema}.channels c ON c.channel = f.channel, {schema}.settings s
        WHERE f.channel = name AND f.key = only_key AND f.fold = 'append'
            AND greatest(c.appended_at, c.renewed_at) >= now() - s.history_seconds * interval '1 second'
        GROUP BY f.key
    )
    SELECT chosen.shown, l.channel, l.epoch, l."offset", l."time", l.id, l.event, l.body, l.key, l.source, NULL, l.attempt, NULL
    FROM chosen JOIN {schema}.latest l ON l.channel = name AND l.key = chosen.key
    UNION ALL
    SELECT chosen.shown, f.channel, f.epoch, f."offset", f."time", f.id, f.event, f.body, f.key, f.source, f.fold, f.attempt, NULL
    FROM chosen JOIN {schema}.folded f ON f.channel = name AND f.key = chosen.key AND f.fold <> 'append'
    UNION ALL
    SELECT chosen.shown, f.channel, f.epoch, f."offset", f."time", f.id, f.event, p.body, f.key, f.source, f.fold, f.attempt, NULL
    FROM chosen JOIN parts p ON p.key = chosen.key
    JOIN {schema}.folded f ON f.channel = name AND f.key = p.key AND f."offset" = p."offset"
    ORDER BY 1, 4
$$;

-- Give the events of all keys the offsets from 1 on, in a new epoch; return the last offset.
CREATE OR REPLACE FUNCTION {schema}.move_groups(name text, begun text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    item record;
    n bigint := 0;
BEGIN
    -- Each key's parts become one event.
    UPDATE {schema}.folded f SET body = merged.body FROM (
        SELECT p.key, max(p."offset") AS "offset",
            '[' || coalesce(string_agg(substr(p.body, 2, length(p.body) - 2), ',' ORDER BY p."offset")
                FILTER (WHERE p.body <> '[]'), '') || ']' AS body
        FROM {schema}.folded p WHERE p.channel = name AND p.fold = 'append' GROUP BY p.key
    ) AS merged WHERE f.channel = name AND f.key = merged.key AND f."offset" = merged."offset";
    DELETE FROM {schema}.folded f WHERE f.channel = name AND f.fold = 'append' AND EXISTS (
        SELECT FROM {schema}.folded later WHERE later.channel = name AND later.key = f.key AND later.fold = 'append'
        AND later."offset" > f."offset");
    FOR item IN
        SELECT every.*, max(every."offset") OVER (PARTITION BY every.key) AS last FROM (
            SELECT l.key, l."offset", NULL AS fold FROM {schema}.latest l WHERE l.channel = name
            UNION ALL SELECT f.key, f."offset", f.fold FROM {schema}.folded f WHERE f.channel = name
        ) AS every ORDER BY last, "offset"
    LOOP
        n := n + 1;
        IF item.fold IS NULL THEN
            UPDATE {schema}.latest l SET epoch = begun, "offset" = n WHERE l.channel = name AND l.key = item.key;
        ELSE
            -- Below zero for now: another row of the key may have this offset still.
            UPDATE {schema}.folded f SET epoch = begun, "offset" = -n
            WHERE f.channel = name AND f.key = item.key AND f."offset" = item."offset";
        END IF;
    END LOOP;
    UPDATE {schema}.folded f SET "offset" = -f."offset" WHERE f.channel = name;
    UPDATE {schema}.owned o SET
        noted = coalesce((SELECT max(f."offset") FROM {schema}.folded f
            WHERE f.channel = name AND f.key = o.key AND f.fold = 'note'), 0),
        shown = greatest(
            coalesce((SELECT l."offset" FROM {schema}.latest l WHERE l.channel = name AND l.key = o.key), 0),
            coalesce((SELECT max(f."offset") FROM {schema}.folded f
                WHERE f.channel = name AND f.key = o.key AND f.fold <> 'append'), 0)),
        touched = greatest(
            coalesce((SELECT l."offset" FROM {schema}.latest l WHERE l.channel = name AND l.key = o.key), 0),
            coalesce((SELECT max(f."offset") FROM {schema}.folded f WHERE f.channel = name AND f.key = o.key), 0))
    WHERE o.channel = name;
    RETURN n;
END $$;
