-- Names of watched tables, for schemas without this column. A dropped table has none.

ALTER TABLE {schema}.watches ADD COLUMN IF NOT EXISTS name text;
UPDATE {schema}.watches SET name = format('%I.%I', nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = relation;
DELETE FROM {schema}.watches WHERE name IS NULL;
ALTER TABLE {schema}.watches ALTER COLUMN name SET NOT NULL;
