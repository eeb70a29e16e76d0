-- Rules of the fields of an event, the same as in Python's `Event`. Every install replaces them.
-- Each first asks a cheap question that most values answer: a bulk change checks every row.

-- Return whether a text is a channel's name.
CREATE OR REPLACE FUNCTION {schema}.is_channel(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT name ~ {channel_characters} AND length(name) <= 128 AND name !~ {reserved}
$$;

-- Return the channel of a user, as `user_channel` of Python does: user-42, user-auth0=7C1.
CREATE OR REPLACE FUNCTION {schema}.user_channel(id text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT {user_start} || CASE WHEN id ~ {unencoded} THEN id ELSE (
        SELECT string_agg(CASE WHEN part ~ {unencoded} THEN part
            ELSE regexp_replace(upper(encode(convert_to(part, 'UTF8'), 'hex')), '(..)', '=\1', 'g') END, '' ORDER BY number)
        FROM regexp_split_to_table(id, '') WITH ORDINALITY AS characters (part, number)
    ) END
$$;

-- Return whether a text has 1 to `longest` characters, all of them printable.
CREATE OR REPLACE FUNCTION {schema}.is_label(label text, longest integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT length(label) BETWEEN 1 AND longest AND label !~ {unprintable}
$$;

-- Return a text of the form of a `traceparent`; NULL for another one.
CREATE OR REPLACE FUNCTION {schema}.valid_traceparent(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT value WHERE value ~ '^[0-9a-f]{{2}}-[0-9a-f]{{32}}-[0-9a-f]{{16}}-[0-9a-f]{{2}}$'
$$;

-- Return JSON without its strings: brackets, numbers and literals stay.
CREATE OR REPLACE FUNCTION {schema}.json_without_strings(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(body, '"(?:[^"\\]|\\.)*"', '', 'g')
$$;

-- Return JSON without the whitespace between its tokens; the order of keys stays.
CREATE OR REPLACE FUNCTION {schema}.compact_json(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN body ~ '^(?:[^"\s]|"(?:[^"\\]|\\.)*")*$' THEN body
        ELSE regexp_replace(body, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g') END
$$;

-- Return whether long JSON has at most `levels` of nesting. Each round removes the innermost level.
CREATE OR REPLACE FUNCTION {schema}.has_depth_by_count(body text, levels integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    brackets text := translate(regexp_replace({schema}.json_without_strings(body), '[^][{{}}]+', '', 'g'), '{{}}', '[]');
BEGIN
    IF length(brackets) <= 2 * levels THEN
        RETURN true;
    END IF;
    FOR level IN 1..levels LOOP
        EXIT WHEN position('[]' IN brackets) = 0;
        brackets := replace(brackets, '[]', '');
    END LOOP;
    RETURN position('[]' IN brackets) = 0;
END $$;

-- Return whether JSON has at most `levels` of nested arrays and objects.
CREATE OR REPLACE FUNCTION {schema}.has_depth(body text, levels integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT octet_length(body) <= 2 * levels OR {schema}.has_depth_by_count(body, levels)
$$;

-- Return whether each escaped half of a surrogate pair has its other half. json accepts a lone one,
-- which is no text. Escaped backslashes go first: \\ud800 is a backslash and five letters.
CREATE OR REPLACE FUNCTION {schema}.has_whole_characters(body text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT position('\u' IN body) = 0 OR body !~ '\\u[dD][89a-fA-F]' OR regexp_replace(
        replace(body, '\\', ''), '\\u[dD][89abAB]..\\u[dD][c-fC-F]..', '', 'g'
    ) !~ '\\u[dD][89a-fA-F]'
$$;

-- Return whether the long numbers among JSON's tokens fit into a double. Exponents of four digits
-- are always too large.
CREATE OR REPLACE FUNCTION {schema}.has_double_tokens(tokens text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT tokens !~ '[eE]\+?[0-9]{{4}}' AND NOT EXISTS (
        SELECT FROM regexp_matches(tokens, '([0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]{{3}}|(?:[0-9]{{100}}){{3}}[0-9]*)', 'g') AS number (parts)
        WHERE parts[1]::numeric > 1.7976931348623158e308
    )
$$;

-- Return whether all numbers fit into a double: JavaScript has no other. Only numbers with an
-- exponent of three digits, or with 300 digits, can be too large.
CREATE OR REPLACE FUNCTION {schema}.has_double_numbers(body text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (body !~ '[eE]\+?[0-9]{{3}}' AND (octet_length(body) < 300 OR body !~ '([0-9]{{100}}){{3}}'))
        OR {schema}.has_double_tokens({schema}.json_without_strings(body))
$$;

-- Return whether every client can read a text that is JSON.
CREATE OR REPLACE FUNCTION {schema}.is_readable(body text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT octet_length(body) <= {max_bytes} AND {schema}.has_depth(body, {max_depth})
        AND {schema}.has_whole_characters(body) AND {schema}.has_double_numbers(body)
$$;

-- Return JSON with integers that JavaScript rounds as texts: ids over 2^53 would name another row.
CREATE OR REPLACE FUNCTION {schema}.text_of_large_integers(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN body !~ '[0-9]{{16}}' THEN body ELSE (
        SELECT string_agg(CASE WHEN part[2] ~ '^-?[0-9]{{16,}}$' AND abs(part[2]::numeric) > 9007199254740991
            THEN '"' || part[2] || '"' ELSE part[1] END, '' ORDER BY number)
        FROM regexp_matches(body, '("(?:[^"\\]|\\.)*"|(-?[0-9][-+.0-9eE]*)|[^-"0-9]+)', 'g') WITH ORDINALITY AS m (part, number)
    ) END
$$;
