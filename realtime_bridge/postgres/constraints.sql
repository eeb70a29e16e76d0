-- Constraints of the outbox. Their names are what a program reads that inserts a bad row.

ALTER TABLE {schema}.outbox
    DROP CONSTRAINT IF EXISTS outbox_channel_check,
    DROP CONSTRAINT IF EXISTS outbox_event_check,
    DROP CONSTRAINT IF EXISTS outbox_body_check,
    DROP CONSTRAINT IF EXISTS outbox_id_check,
    DROP CONSTRAINT IF EXISTS outbox_key_check,
    DROP CONSTRAINT IF EXISTS outbox_source_check,
    ADD CONSTRAINT "channel has 1 to 128 characters of A-Za-z0-9_=@,.;-" CHECK ({schema}.is_channel(channel)),
    ADD CONSTRAINT "event has 1 to 200 printable characters" CHECK ({schema}.is_label(event, {max_name})),
    ADD CONSTRAINT "id has 1 to 128 printable characters" CHECK ({schema}.is_label(id, {max_label})),
    ADD CONSTRAINT "key has 1 to 128 printable characters" CHECK ({schema}.is_label(key, {max_label})),
    ADD CONSTRAINT "source has 1 to 128 printable characters" CHECK ({schema}.is_label(source, {max_label})),
    ADD CONSTRAINT "body is JSON" CHECK (body::json IS NOT NULL),
    ADD CONSTRAINT "body has at most 1 MiB" CHECK (octet_length(body) <= {max_bytes}),
    ADD CONSTRAINT "body has at most 254 levels of nesting" CHECK ({schema}.has_depth(body, {max_depth})),
    ADD CONSTRAINT "body has no half of a surrogate pair" CHECK ({schema}.has_whole_characters(body)),
    ADD CONSTRAINT "body has no number beyond 1.8e308" CHECK ({schema}.has_double_numbers(body));
