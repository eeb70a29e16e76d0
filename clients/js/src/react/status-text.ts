/** What people read of a connection, in plain words: what is the matter, and what they can do. */

import type { ClientState } from '../types.js';

export type Tone = 'good' | 'fair' | 'quiet' | 'bad';

/** The badge's words. */
export interface Words {
  readonly tone: Tone;
  /** Short, on the badge; empty while nothing is to be said yet. */
  readonly label: string;
  /** A sentence: what it means. */
  readonly detail: string;
  /** A sentence: what to do, when something can be done. */
  readonly advice: string | null;
  /** Whether trying again may help. */
  readonly retry: boolean;
}

const NOTHING: Words = { tone: 'quiet', label: '', detail: '', advice: null, retry: false };

/** By the status or close code that a reason names: what it means, and what to do. */
const REFUSALS: readonly (readonly [code: RegExp, detail: string, advice: string])[] = [
  [/401/, 'You are not signed in.', 'Sign in, then try again.'],
  [/403/, 'You have no access.', 'Sign in as somebody who has.'],
  [/4409/, 'Too many connections are open.', 'Close other tabs, then try again.'],
];

/** Returns the words for a state of the client. */
export function wordsFor(state: ClientState): Words {
  const { kind, label, mode } = state;
  const say = (tone: Tone, detail: string): Words => ({ ...NOTHING, tone, label, detail });
  if (kind === 'starting' || mode === 'IDLE') return NOTHING;
  if (kind === 'connecting') return say('quiet', 'Looking for the server.');
  if (kind === 'realtime') return say('good', 'Updates arrive as they happen.');
  if (kind === 'polling') return say('fair', 'Updates arrive every few seconds.');
  if (kind === 'paused') return { ...say('quiet', 'No updates for now.'), retry: mode === 'STOPPED' };
  return { ...say('bad', ''), ...explained(state), retry: true };
}

function explained({ kind, reason }: ClientState): Pick<Words, 'detail' | 'advice'> {
  const because = reason ? ` (${reason})` : '';
  if (kind === 'offline') return { detail: `The server does not answer${because}.`, advice: 'Check your network. We keep trying.' };
  const [, detail, advice] = REFUSALS.find(([code]) => code.test(because)) ?? [];
  return {
    detail: detail ?? `The server refused${because}.`,
    advice: advice ?? 'Try again, or reload the page.',
  };
}
