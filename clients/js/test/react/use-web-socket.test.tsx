// @vitest-environment jsdom
import { act, cleanup, render, renderHook } from '@testing-library/react';
import { StrictMode, type ReactElement } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { useWebSocket } from '../../src/react/index.js';

class FakeWebSocket {
  static created: FakeWebSocket[] = [];
  readyState = 0;
  readonly sent: unknown[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: MessageEvent) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {
    FakeWebSocket.created.push(this);
  }
  static get last(): FakeWebSocket {
    return FakeWebSocket.created.at(-1)!;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  receive(data: string): void {
    this.onmessage?.(new MessageEvent('message', { data }));
  }
  send(message: unknown): void {
    this.sent.push(message);
  }
  close(): void {
    this.readyState = 3;
  }
}

beforeEach(() => {
  FakeWebSocket.created = [];
  vi.stubGlobal('WebSocket', FakeWebSocket);
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const URL = 'wss://example.com/a';

test('hook connects, sends and closes', () => {
  const { result, unmount } = renderHook(() => useWebSocket(URL, { heartbeatInterval: 0 }));
  expect(result.current).toMatchObject({ status: 'connecting', attempts: 0, lastMessage: null });
  expect(result.current.send('early')).toBe(false);
  act(() => FakeWebSocket.last.open());
  expect(result.current.status).toBe('connected');
  expect(result.current.send({ a: 1 })).toBe(true);
  expect(FakeWebSocket.last.sent).toEqual(['{"a":1}']);
  unmount();
  expect(FakeWebSocket.last.readyState).toBe(3);
});

test('`onMessage` gets every message despite batching', () => {
  const [onMessage, rendered] = [vi.fn(), [] as unknown[]];
  function Page(): ReactElement {
    const { lastMessage } = useWebSocket(URL, { onMessage: (message) => onMessage(message.data) });
    rendered.push(lastMessage?.data);
    return <p>{String(lastMessage?.data)}</p>;
  }
  const { container } = render(<StrictMode><Page /></StrictMode>);
  act(() => {
    FakeWebSocket.last.open();
    for (const data of ['a', 'b', 'c']) FakeWebSocket.last.receive(data);
  });
  expect(onMessage.mock.calls.flat()).toEqual(['a', 'b', 'c']);
  expect(container.textContent).toBe('c');
});

test('new URL reconnects, new handler does not', () => {
  const { rerender, result } = renderHook(({ url }) => useWebSocket(url, { onMessage: () => {} }), { initialProps: { url: URL } });
  const { send } = result.current;
  rerender({ url: URL });
  expect(FakeWebSocket.created).toHaveLength(1);
  expect(result.current.send).toBe(send);
  rerender({ url: 'wss://example.com/b' });
  expect(FakeWebSocket.created.map(({ url, readyState }) => [url, readyState])).toEqual([[URL, 3], ['wss://example.com/b', 0]]);
});

test('closed socket can be reconnected', () => {
  const { result } = renderHook(() => useWebSocket(URL));
  act(() => result.current.close());
  expect(result.current.status).toBe('disconnected');
  act(() => result.current.reconnect());
  expect(result.current.status).toBe('connecting');
});

test('null URL contacts nothing', () => {
  const { result } = renderHook(() => useWebSocket(null));
  expect(result.current.status).toBe('disconnected');
  result.current.reconnect();
  expect(FakeWebSocket.created).toEqual([]);
});
