/** Rendering in Node, without a window, a document or a WebSocket. */
import type { ReactElement } from 'react';
import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import {
  ConnectionBadge,
  ProcessingWidget,
  RealtimeProvider,
  useChannel,
  useConnectionStatus,
  useHybridUpdates,
  useStream,
  useWebSocket,
} from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

const fetchData = vi.fn(() => ({ jobs: [] }));

function Hooks(): ReactElement {
  const { data, loading, updateSource, websocketStatus } = useHybridUpdates(fetchData, 'u1');
  const socket = useWebSocket('wss://example.com');
  const { phase } = useChannel('job.7', () => {});
  const stream = useStream('chat.1', 'm1');
  const text = [data, loading, updateSource, websocketStatus, socket.status, phase, stream.state, useConnectionStatus().kind];
  return <p>{text.map(String).join(' ')}</p>;
}

test('hooks render the initial state and contact nothing', () => {
  vi.stubGlobal('fetch', () => expect.unreachable());
  expect(typeof window).toBe('undefined');
  expect(renderToString(<Hooks />)).toBe('<p>null true polling disconnected disconnected syncing unknown starting</p>');
  expect(fetchData).not.toHaveBeenCalled();
  vi.unstubAllGlobals();
});

test('badge reserves space for its text', () => {
  const page = renderToString(<ConnectionBadge />);
  expect(page).toContain('role="status"');
  expect(page).toContain('<span class="rb-pill-label"></span>');
});

test('components render the same for any client state', () => {
  const client = new FakeClient();
  client.goLive();
  const page = renderToString(<RealtimeProvider client={client}><ConnectionBadge /></RealtimeProvider>);
  expect(page).toBe(renderToString(<ConnectionBadge />));
});

test('widget is loading', () => {
  expect(renderToString(<ProcessingWidget userId="u1" />)).toContain('Loading jobs …');
});

test('markup needs no exception in a content security policy', () => {
  const page = renderToString(<><ProcessingWidget userId="u1" debug /><ConnectionBadge /></>);
  expect(page).not.toMatch(/ style=|<style|<script| on[a-z]+=/);
});
