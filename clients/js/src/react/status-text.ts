/** Texts of the connection status for users: the state, its meaning and advice. */

import type { ClientState } from '../types.js';

export type Tone = 'good' | 'fair' | 'quiet' | 'bad';

/** Text of the badge. */
export interface StatusText {
  readonly tone: Tone;
  /** Short text on the badge; empty while there is no status to show. */
  readonly label: string;
  /** Sentence: the meaning of the status. */
  readonly detail: string;
  /** Sentence: advice to the user, if there is any. */
  readonly advice: string | null;
  /** True if another attempt may help. */
  readonly retry: boolean;
}

const EMPTY: StatusText = { tone: 'quiet', label: '', detail: '', advice: null, retry: false };

/** Meaning and advice for the HTTP status or close code in a reason. */
const DENIALS: readonly (readonly [code: RegExp, detail: string, advice: string])[] = [
  [/bad_origin/, 'This page may not connect.', 'Its address has to be named in REALTIME_ORIGINS.'],
  [/401/, 'You are not signed in.', 'Sign in, then try again.'],
  [/403/, 'You have no access.', 'Sign in with an account that has access.'],
  [/4409/, 'Too many connections are open.', 'Close other tabs, then try again.'],
];

/** Return the text for a state of the client. */
export function statusText(state: ClientState): StatusText {
  const { kind, label, mode, reason } = state;
  const text = (tone: Tone, detail: string): StatusText => ({ ...EMPTY, tone, label, detail });
  if (kind === 'starting' || mode === 'IDLE') return EMPTY;
  if (kind === 'connecting') return text('quiet', 'Looking for the server.');
  if (kind === 'realtime') return text('good', 'Updates arrive as they happen.');
  if (kind === 'polling') return text('fair', 'Updates arrive every few seconds.');
  if (kind === 'delayed') return text('fair', `Updates arrive late (${reason}).`);
  if (kind === 'paused') return { ...text('quiet', 'No updates for now.'), retry: mode === 'STOPPED' };
  return { ...text('bad', ''), ...explanation(state), retry: true };
}

function explanation({ kind, reason }: ClientState): Pick<StatusText, 'detail' | 'advice'> {
  const because = reason ? ` (${reason})` : '';
  if (kind === 'offline') return { detail: `The server does not answer${because}.`, advice: 'Check your network. We keep trying.' };
  const [, detail, advice] = DENIALS.find(([code]) => code.test(because)) ?? [];
  return {
    detail: detail ?? `The server refused${because}.`,
    advice: advice ?? 'Try again, or reload the page.',
  };
}
