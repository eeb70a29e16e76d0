/** Messages between tabs: what is accepted, and which tabs share a connection. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { PACKAGE_VERSION, connectionName, parseTabMessage } from '../../src/transports/shared/tab-messages.js';
import type { TransportTools } from '../../src/transports/transport.js';

const ONE = 'c6f7b9a2-0000-4000-8000-000000000001';
const TWO = 'c6f7b9a2-0000-4000-8000-000000000002';
const from = { leader: ONE, follower: TWO };

const VALID = [
  { type: 'hello', follower: TWO },
  { type: 'join', ...from, channel: 'job.7', position: null },
  { type: 'join', ...from, channel: 'job.7', position: { epoch: 'aaaaaaaa', offset: 1, id: 'x' } },
  { type: 'leave', ...from, channels: ['job.7'] },
  { type: 'ping', ...from, nonce: '00ff' },
  { type: 'leader', leader: ONE, term: 1, ready: false, health: {} },
  { type: 'relay', leader: ONE, to: [TWO], message: { type: 'event' } },
  { type: 'relay', leader: ONE, to: null, message: { type: 'status' } },
  { type: 'closed', leader: ONE, code: 1006, reason: '' },
];

it.each(VALID)('message is accepted: $type', (message) => {
  expect(parseTabMessage(message)).toBe(message);
});

it.each(VALID)('message without one of its fields is ignored: $type', (message) => {
  for (const name of Object.keys(message)) {
    const { [name as 'type']: _, ...rest } = message;
    expect(parseTabMessage(rest)).toBeNull();
  }
});

it.each([
  null, undefined, 1, 'hello', [], {}, { type: 'constructor' }, { type: 'hello', follower: 'me' },
  { type: 'join', ...from, channel: 'job.7', position: { epoch: 'a', offset: '1' } },
  { type: 'ping', ...from, nonce: 'f'.repeat(40) },
  { type: 'ping', ...from, nonce: 'a.b' },
  { type: 'relay', leader: ONE, to: 'all', message: { type: 'event' } },
  { type: 'leader', leader: ONE, term: Infinity, ready: true, health: {} },
])('anything else is ignored: %j', (message) => {
  expect(parseTabMessage(message)).toBeNull();
});

function name(claims: object, url = 'https://a.example/realtime/ws'): string | null {
  const token = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
  return connectionName({ token: () => token, url: () => url } as unknown as TransportTools);
}

it('tabs of one user with fresh tokens share a connection', () => {
  const first = name({ sub: 'ann', cid: 'c_1', iat: 1, exp: 601, channels: ['job.*'] });
  expect(first).not.toBeNull();
  expect(name({ channels: ['job.*'], sub: 'ann', cid: 'c_2', iat: 9, exp: 609, rev: 3 })).toBe(first);
});

it.each([
  { sub: 'ben', channels: ['job.*'] },
  { sub: 'ann' },
  { sub: 'ann', channels: ['job.1'] },
  { sub: 'ann', channels: ['job.*'], kind: 'int' },
])('tabs with another user or other rights have their own: %j', (claims) => {
  expect(name(claims)).not.toBe(name({ sub: 'ann', channels: ['job.*'] }));
});

it('tabs of another server have their own connection', () => {
  expect(name({ sub: 'ann' }, 'https://b.example/realtime/ws')).not.toBe(name({ sub: 'ann' }));
});

it('token that is no JWT is not shared', () => {
  expect(connectionName({ token: () => 'opaque', url: () => '' } as unknown as TransportTools)).toBeNull();
});

it('version is that of the package', () => {
  const path = fileURLToPath(new URL('../../package.json', import.meta.url));
  expect(PACKAGE_VERSION).toBe(JSON.parse(readFileSync(path, 'utf8')).version);
});
