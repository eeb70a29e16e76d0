/**
 * Messages between the tabs of one browser, checked where they arrive: any page of the origin can send
 * some. The files of this folder are loaded on demand, and contain none of the client's code again.
 */

import type { Fields, ServerMessage } from '../../messages.js';
import type { Position } from '../../types.js';
import type { TransportTools } from '../transport.js';

/** Version of the package: tabs with another version have a connection of their own. */
export const PACKAGE_VERSION = '0.1.0';

/** Message of a follower: `hello` asks for the leader; the others go to this leader alone. */
export type FollowerMessage =
  | { readonly type: 'hello'; readonly follower: string }
  | { readonly type: 'join'; readonly leader: string; readonly follower: string; readonly channel: string; readonly position: Position | null }
  | { readonly type: 'leave'; readonly leader: string; readonly follower: string; readonly channels: readonly string[] }
  | { readonly type: 'ping'; readonly leader: string; readonly follower: string; readonly nonce: string };

/** Message of a leader. A later leader has a greater `term`; `health` is the server's; `to` null means all followers. */
export type LeaderMessage =
  | { readonly type: 'leader'; readonly leader: string; readonly term: number; readonly ready: boolean; readonly health: Fields }
  | { readonly type: 'relay'; readonly leader: string; readonly to: readonly string[] | null; readonly message: ServerMessage }
  | { readonly type: 'closed'; readonly leader: string; readonly code: number; readonly reason: string };

export type TabMessage = FollowerMessage | LeaderMessage;

/** Claims that differ between tokens with the same rights. */
const PASSING = ['iat', 'nbf', 'exp', 'jti', 'cid', 'rev'];

const CHECKS: Readonly<Record<string, (message: Fields) => boolean>> = {
  hello: ({ follower }) => isId(follower),
  join: ({ leader, follower, channel, position }) => isId(leader) && isId(follower) && isText(channel) && isPosition(position),
  leave: ({ leader, follower, channels }) => isId(leader) && isId(follower) && isTexts(channels),
  ping: ({ leader, follower, nonce }) => isId(leader) && isId(follower) && isNonce(nonce),
  leader: ({ leader, term, ready, health }) => isId(leader) && Number.isFinite(term) && typeof ready === 'boolean' && isFields(health),
  relay: ({ leader, to, message }) => isId(leader) && (to === null || isTexts(to)) && isFields(message) && isText(message.type),
  closed: ({ leader, code, reason }) => isId(leader) && Number.isInteger(code) && isText(reason),
};

/** Return a message of another tab; null for anything else. */
export function parseTabMessage(data: unknown): TabMessage | null {
  if (!isFields(data) || !isText(data.type) || !Object.hasOwn(CHECKS, data.type)) return null;
  return CHECKS[data.type]?.(data) ? (data as unknown as TabMessage) : null;
}

/**
 * Return the name under which tabs share a connection: those with the same server, user, rights and
 * version of the package. Null for a token that is no JWT, whose rights are not known.
 */
export function connectionName(tools: TransportTools): string | null {
  try {
    const claims = tools.token().split('.')[1] ?? '';
    const fields = JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/'))) as Fields;
    const rights = Object.entries(fields).filter(([claim]) => !PASSING.includes(claim)).sort();
    return JSON.stringify(['realtime-bridge', PACKAGE_VERSION, tools.url('websocket'), rights]);
  } catch {
    return null;
  }
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isId(value: unknown): boolean {
  return isText(value) && /^[0-9a-f-]{36}$/.test(value);
}

/** Return whether a nonce is short enough: with an id before it, a server accepts 64 characters. */
function isNonce(value: unknown): boolean {
  return isText(value) && /^[0-9a-f]{1,27}$/.test(value);
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

function isPosition(value: unknown): boolean {
  if (value === null) return true;
  return isFields(value) && isText(value.epoch) && Number.isInteger(value.offset) && (value.id === undefined || isText(value.id));
}
