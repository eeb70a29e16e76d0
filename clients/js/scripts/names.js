// Short names for members that are not public: a few letters, the same in every class, compress well.

import { readFileSync, readdirSync } from 'node:fs';

// Frequent letters first: they occur in the code already.
const LETTERS = [...'etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ'];

/** Modules whose members no application sees. */
const INTERNAL = /^(machine|transports|channels|http)\/|^client-runner/;

/** Name of two or more words, declared as a member of a class or an interface. */
const MEMBER = /^ {2}(?:(?:readonly|protected|abstract|get) )*([a-z]+[A-Z]\w*)(?=\??[:(<]| =)/gm;

/** Return esbuild's `mangleCache`: no two members of one class, or of a class and its base, share a letter. */
export function privateNames() {
  const families = familiesOf(sources());
  const letters = internalNames();
  for (const name of privatesOf(sources().join('\n'))) {
    const related = families.filter((family) => family.has(name)).flatMap((family) => [...family]);
    const used = new Set(related.map((other) => letters[other]));
    letters[name] = LETTERS.find((letter) => !used.has(letter)) ?? name;
  }
  return letters;
}

/** Return the pattern of the names that `privateNames` shortens. */
export function privatePattern() {
  return new RegExp(`^(_[a-z]\\w*|${Object.keys(internalNames()).join('|')})$`);
}

export function sources(isIncluded = () => true) {
  const paths = readdirSync('src', { recursive: true }).filter((path) => /\.tsx?$/.test(path));
  return paths.filter(isIncluded).sort().map((path) => readFileSync(`src/${path}`, 'utf8'));
}

/** Return short names for members of internal modules. A name in a public module, or in quotes, stays. */
function internalNames() {
  const internal = sources((path) => INTERNAL.test(path)).join('\n');
  const open = sources((path) => !INTERNAL.test(path) && path !== 'hybrid-client.ts').join('\n');
  const timing = readFileSync('src/machine/timing.ts', 'utf8');
  const isHidden = (name) => !new RegExp(`\\b${name}\\b`).test(open) && !internal.includes(`'${name}'`);
  const isTiming = (name) => timing.includes(`  readonly ${name}: number;`);
  const names = [...new Set([...internal.matchAll(MEMBER)].map(([, name]) => name))].filter(isHidden);
  return { ...shortNames(names.filter(isTiming), ''), ...shortNames(names.filter((name) => !isTiming(name)), '$') };
}

/** Return a letter for each name. A prefix keeps it apart from the letters of private members in the same class. */
function shortNames(names, prefix) {
  return Object.fromEntries(names.map((name, index) => [name, prefix + LETTERS[index]]));
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
