// Short names for private members: the same few letters in every class, which compresses well.

import { readFileSync, readdirSync } from 'node:fs';

// Frequent letters first: they occur in the code already.
const LETTERS = [...'etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ'];

/** Return esbuild's `mangleCache`: no two members of one class, or of a class and its base, share a letter. */
export function privateNames() {
  const families = familiesOf(sources());
  const letters = timingNames();
  for (const name of privatesOf(sources().join('\n'))) {
    const related = families.filter((family) => family.has(name)).flatMap((family) => [...family]);
    const used = new Set(related.map((other) => letters[other]));
    letters[name] = LETTERS.find((letter) => !used.has(letter)) ?? name;
  }
  return letters;
}

/** Match the names that `privateNames` shortens. */
export function privatePattern() {
  return new RegExp(`^(_[a-z]\\w*|${Object.keys(timingNames()).join('|')})$`);
}

export function sources() {
  const paths = readdirSync('src', { recursive: true }).filter((path) => /\.tsx?$/.test(path));
  return paths.sort().map((path) => readFileSync(`src/${path}`, 'utf8'));
}

/** Return the letters of the fields of `Timing`: the package exports no `Timing`, so nothing outside uses the names. */
function timingNames() {
  const fields = readFileSync('src/machine/timing.ts', 'utf8').match(/(?<=^  readonly )\w+/gm);
  return Object.fromEntries(fields.map((field, index) => [field, LETTERS[index] ?? field]));
}

/** Return the private names of each class and its bases; a file holds at most one class. */
function familiesOf(texts) {
  const classes = new Map();
  for (const text of texts) {
    const [, name, base] = /^(?:export )?(?:abstract )?class (\w+)(?:<.*?>)?(?: extends (\w+))?/m.exec(text) ?? [];
    if (name) classes.set(name, { base, names: privatesOf(text) });
  }
  const inherited = (name) => (classes.has(name) ? [...classes.get(name).names, ...inherited(classes.get(name).base)] : []);
  return [...classes.keys()].map((name) => new Set(inherited(name)));
}

function privatesOf(text) {
  return [...new Set(text.match(/(?<![\w'`])_[a-z]\w*/g))];
}
