// Writes src/payloads.ts from the JSON Schema on standard input. With --check, fails where it does not match.

import { readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { compile } from 'json-schema-to-typescript';

const TARGET = 'src/payloads.ts';
const BANNER = '/** The data of the events that the library makes itself, by `make payloads` from realtime_bridge/payloads.py. */\n';
const OPTIONS = { additionalProperties: false, bannerComment: '', style: { singleQuote: true } };

const { $defs: models } = JSON.parse(await text(process.stdin));
let types = BANNER;
for (const [name, { properties, ...model }] of Object.entries(models)) {
  const untitled = Object.entries(properties).map(([field, { title, ...property }]) => [field, property]);
  types += `\n${await compile({ ...model, properties: Object.fromEntries(untitled) }, name, OPTIONS)}`;
}

if (!process.argv.includes('--check')) {
  writeFileSync(TARGET, types);
} else if (types !== readFileSync(TARGET, 'utf8')) {
  console.error(`clients/js/${TARGET} does not match realtime_bridge/payloads.py: run "make payloads" and commit it`);
  process.exitCode = 1;
}
