// Short names for private members: the same few letters in every class, which compresses well.

import { readFileSync, readdirSync } from 'node:fs';

// The frequent ones first: they are in the code already.
const LETTERS = [...'etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ'];

/** For esbuild's `mangleCache`: no two members of one class, or of one it extends, share a letter. */
export function privateNames() {
  const families = familiesOf(sources());
  const letters = {};
  for (const name of privatesOf(sources().join('\n'))) {
    const near = families.filter((family) => family.has(name)).flatMap((family) => [...family]);
    const taken = new Set(near.map((other) => letters[other]));
    letters[name] = LETTERS.find((letter) => !taken.has(letter)) ?? name;
  }
  return letters;
}

export function sources() {
  const paths = readdirSync('src', { recursive: true }).filter((path) => /\.tsx?$/.test(path));
  return paths.sort().map((path) => readFileSync(`src/${path}`, 'utf8'));
}

/** The private names of each class with those of the classes it extends; one class a file. */
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
