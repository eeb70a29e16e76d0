import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const css = readFileSync(new URL('../../src/react/styles.css', import.meta.url), 'utf8');
const pairs = new Map([...css.matchAll(/--rb-([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(([, name, light, dark]) => [name!, [light!, dark!] as const]));
const plain = new Map([...css.matchAll(/--rb-([a-z-]+): (#[0-9a-f]{6});/g)].map(([, name, colour]) => [name!, colour!]));

const TEXT = 4.5;
const GRAPHIC = 3;

test.each([
  ['text', 'surface', TEXT],
  ['text', 'soft', TEXT],
  ['muted', 'surface', TEXT],
  ['muted', 'soft', TEXT],
  ['good', 'good-back', TEXT],
  ['good', 'surface', TEXT],
  ['fair', 'fair-back', TEXT],
  ['fair', 'surface', TEXT],
  ['quiet', 'quiet-back', TEXT],
  ['quiet', 'surface', TEXT],
  ['bad', 'bad-back', TEXT],
  ['bad', 'surface', TEXT],
  ['accent', 'surface', TEXT],
  ['accent', 'sunken', GRAPHIC],
  ['good-fill', 'surface', GRAPHIC],
  ['bad-fill', 'sunken', GRAPHIC],
  ['fair-fill', 'surface', GRAPHIC],
])('contrast of %s on %s suffices in light and dark', (front, back, least) => {
  for (const scheme of [0, 1] as const) {
    expect(contrast(pairs.get(front)![scheme], pairs.get(back)![scheme])).toBeGreaterThanOrEqual(least);
  }
});

test('browsers without light-dark() get the light colours', () => {
  expect(Object.fromEntries(plain)).toEqual(Object.fromEntries([...pairs].map(([name, [light]]) => [name, light])));
});

test('reduced motion disables every animation', () => {
  const still = css.slice(css.indexOf('prefers-reduced-motion'));
  const moving = [...css.matchAll(/^([^\n@{]+) \{[^}]*?(?:animation|transition): (?!none)/gm)].map(([, selector]) => selector);
  for (const selector of [...moving, '.rb-bar-unknown .rb-bar-fill']) expect(still).toContain(selector);
});

/** WCAG 2.2. */
function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((first, second) => first - second);
  return (light! + 0.05) / (dark! + 0.05);
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}
