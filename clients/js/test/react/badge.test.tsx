// @vitest-environment jsdom
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConnectionBadge, RealtimeProvider } from '../../src/react/index.js';
import { STARTING } from '../../src/react/initial.js';
import { statusText } from '../../src/react/status-text.js';
import type { ClientState, StatusKind } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

let client: FakeClient;
beforeEach(() => {
  client = new FakeClient();
});
afterEach(cleanup);

const LABELS: Record<StatusKind, string> = {
  starting: '',
  connecting: 'Connecting',
  realtime: 'Real-time',
  polling: 'Polling',
  delayed: 'Delayed',
  paused: 'Paused',
  offline: 'Offline',
  error: 'Error',
};

function show(fields: Partial<ClientState>): HTMLElement {
  render(<RealtimeProvider client={client}><ConnectionBadge /></RealtimeProvider>);
  act(() => client.show({ mode: 'FALLBACK', ...fields }));
  return screen.getByRole('status');
}

function showKind(kind: StatusKind, fields: Partial<ClientState> = {}): HTMLElement {
  return show({ kind, label: LABELS[kind], ...fields });
}

test.each([
  ['realtime', 'good', 'Real-time'],
  ['polling', 'fair', 'Polling'],
  ['delayed', 'fair', 'Delayed'],
  ['connecting', 'quiet', 'Connecting'],
  ['offline', 'bad', 'Offline'],
  ['error', 'bad', 'Error'],
] as const)('status %s has a colour, an icon and a text', (kind, tone, label) => {
  const status = showKind(kind);
  expect(status.closest('.rb-badge')!.getAttribute('data-tone')).toBe(tone);
  expect(status.textContent).toContain(label);
  expect(status.querySelectorAll('svg[aria-hidden="true"]')).toHaveLength(1);
});

test('each kind has its own icon', () => {
  const shapes = (['realtime', 'polling', 'connecting', 'offline', 'error', 'paused'] as const).map((kind) => {
    const shape = showKind(kind).querySelector('path')!.getAttribute('d');
    cleanup();
    return shape;
  });
  expect(new Set(shapes).size).toBe(6);
});

test('changes are announced politely and completely', () => {
  const status = showKind('polling');
  expect(status.getAttribute('aria-live')).toBe('polite');
  expect(status.getAttribute('aria-atomic')).toBe('true');
});

test.each([{ kind: 'starting' as const }, { kind: 'paused' as const, label: 'Paused', mode: 'IDLE' as const }])(
  'no text at first, with space reserved: %j',
  (fields) => {
    const status = show(fields);
    expect(status.textContent).toBe('');
    expect(status.querySelector('.rb-pill svg')).not.toBeNull();
  },
);

describe('fault', () => {
  test('shows reason, advice and a retry button', () => {
    const status = showKind('offline', { reason: 'the socket went silent' });
    expect(status.textContent).toContain('The server does not answer (the socket went silent).');
    expect(status.textContent).toContain('Check your network. We keep trying.');
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
    expect(client.calls).toContain('retry');
  });

  test.each([
    ['no descriptor: 401', 'Sign in, then try again.'],
    ['closed with 4401: token', 'Sign in, then try again.'],
    ['no descriptor: 403', 'Sign in with an account that has access.'],
    ['closed with 4403: forbidden', 'Sign in with an account that has access.'],
    ['closed with 4410: disabled', 'Try again, or reload'],
    ['closed with 4400: bad frame', 'Try again, or reload'],
    ['closed with 4409', 'Close other tabs'],
    ['something else', 'Try again, or reload'],
    [null, 'Try again, or reload'],
  ])('%s: %s', (reason, advice) => {
    expect(showKind('error', { reason }).textContent).toContain(advice);
  });
});

test.each(['realtime', 'polling', 'connecting', 'starting'] as const)('there is no button while %s', (kind) => {
  showKind(kind);
  expect(screen.queryByRole('button')).toBeNull();
});

test('stopped client has a retry button, paused client has none', () => {
  expect(statusText({ ...STARTING, kind: 'paused', mode: 'STOPPED' }).retry).toBe(true);
  expect(statusText({ ...STARTING, kind: 'paused', mode: 'PAUSED' }).retry).toBe(false);
});

test('texts can be replaced', () => {
  const replaced = (state: ClientState) => ({ ...statusText(state), label: 'Getrennt', retry: true });
  render(<RealtimeProvider client={client}><ConnectionBadge statusText={replaced} retryLabel="Erneut" className="mine" /></RealtimeProvider>);
  expect(screen.getByRole('status').textContent).toContain('Getrennt');
  expect(screen.getByRole('button').textContent).toBe('Erneut');
  expect(document.querySelector('.rb-badge.mine')).not.toBeNull();
});
