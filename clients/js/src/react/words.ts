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

const REFUSALS: readonly (readonly [RegExp, string, string])[] = [
  [/\b4?401\b/, 'You are not signed in.', 'Sign in again, then try again.'],
  [/\b4?403\b/, 'You have no access.', 'Ask for access, or sign in as somebody who has it.'],
  [/\b4409\b/, 'Too many connections are open.', 'Close other tabs of this page, then try again.'],
  [/\b4410\b/, 'Live updates are turned off.', 'Reload the page to see what is new.'],
  [/\b4400\b/, 'This page and the server do not understand each other.', 'Reload the page.'],
];

/** Returns the words for a state of the client. */
export function wordsFor(state: ClientState): Words {
  switch (state.kind) {
    case 'starting':
      return NOTHING;
    case 'connecting':
      return { ...NOTHING, label: state.label || 'Connecting', detail: 'Looking for the server.' };
    case 'realtime':
      return { ...NOTHING, tone: 'good', label: state.label, detail: 'Updates arrive as they happen.' };
    case 'polling':
      return { ...NOTHING, tone: 'fair', label: state.label, detail: 'Checking for updates every few seconds. Nothing is missed.' };
    case 'paused':
      return paused(state);
    case 'offline':
      return offline(state);
    case 'error':
      return refused(state);
  }
}

function paused(state: ClientState): Words {
  if (state.mode === 'IDLE') return NOTHING;
  const stopped = state.mode === 'STOPPED';
  const detail = stopped ? 'Updates are stopped.' : 'Updates go on when you come back to this page.';
  return { tone: 'quiet', label: state.label || 'Paused', detail, advice: null, retry: stopped };
}

function offline(state: ClientState): Words {
  return {
    tone: 'bad',
    label: state.label || 'Offline',
    detail: sentence(state.reason) ?? 'The server cannot be reached.',
    advice: 'Check your network. We keep trying.',
    retry: true,
  };
}

function refused(state: ClientState): Words {
  const known = REFUSALS.find(([pattern]) => pattern.test(state.reason ?? ''));
  return {
    tone: 'bad',
    label: state.label || 'Error',
    detail: known?.[1] ?? sentence(state.reason) ?? 'The server refused the connection.',
    advice: known?.[2] ?? 'Try again, or reload the page.',
    retry: true,
  };
}

function sentence(reason: string | null): string | null {
  if (!reason) return null;
  const text = reason.charAt(0).toUpperCase() + reason.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
