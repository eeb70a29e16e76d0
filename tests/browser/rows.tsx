/** Page with one channel for each row of a list; `window.show(count)` changes the list in one tick. */

import { StrictMode, useState, type ReactElement } from 'react';
import { createRoot } from 'react-dom/client';
import { HybridClient } from '../../clients/js/src/index.js';
import { RealtimeProvider, useChannel, useConnectionStatus } from '../../clients/js/src/react/index.js';

const transport = new URLSearchParams(location.search).get('transport') as 'websocket' | 'sse' | 'poll';
const client = new HybridClient({ endpoint: '/realtime', transport, pollingInterval: 1_000 });
const received: Record<string, number[]> = {};
const resets: string[] = [];
const errors: string[] = [];

function Row({ channel }: { channel: string }): ReactElement {
  const { phase } = useChannel(channel, ({ data }) => void (received[channel] ??= []).push(data as number), {
    onReset: ({ reason }) => void resets.push(`${channel} ${reason}`),
    onError: ({ message }) => void errors.push(`${channel} ${message}`),
  });
  return <li data-phase={phase}>{channel}</li>;
}

function Page(): ReactElement {
  const [list, setList] = useState({ count: 0, round: 0 });
  const { label, mode, reason } = useConnectionStatus();
  const show = (count: number): void => setList(({ round }) => ({ count, round: round + 1 }));
  Object.assign(window, { show, client, received, resets, errors });
  const numbers = Array.from({ length: list.count }, (_, number) => number);
  return (
    <>
      <p id="status">{label}</p>
      <p id="mode">{mode}</p>
      <p id="reason">{reason}</p>
      {/* The round is part of the key: the same channels get new components. */}
      <ul>{numbers.map((number) => <Row key={`${list.round}.${number}`} channel={`job.${number}`} />)}</ul>
    </>
  );
}

createRoot(document.querySelector('main')!).render(
  <StrictMode>
    <RealtimeProvider client={client}>
      <Page />
    </RealtimeProvider>
  </StrictMode>,
);
