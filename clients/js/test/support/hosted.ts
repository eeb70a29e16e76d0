/** Integration tests with a provider's unmodified SDK, a local provider and a real server. */

import { afterEach, beforeEach, expect, it } from 'vitest';
import { HybridClient } from '../../src/index.js';
import { Journal, when, whenCurrent, whenKind } from './journal.js';
import { LocalProvider } from './provider.js';
import { Server, token } from './server.js';
import { StreamWriter } from './stream-writer.js';

const CHANNEL = 'user-42';

/** Register the tests of a provider. Each provider has its own file, since files run in parallel. */
export function deliversBy(name: string): void {
  let provider: LocalProvider;
  let server: Server;
  let client: HybridClient;
  let journal: Journal;

  async function begin(log: string, more: Record<string, string> = {}): Promise<void> {
    server = await Server.start(0, { ...provider.environment, REALTIME_LOG: log, ...more });
    client = new HybridClient({ endpoint: server.url, token: token('42'), reconnectInterval: 300, maxReconnectAttempts: 100 });
    journal = new Journal();
    client.subscribe(CHANNEL, journal);
    client.start();
  }

  /** Publish in batches, as fast as the server accepts them. */
  async function publishAll(count: number): Promise<number[]> {
    const percents = Array.from({ length: count }, (_, index) => index + 1);
    for (let start = 0; start < count; start += 100) {
      await server.publish(CHANNEL, ...percents.slice(start, start + 100));
    }
    return percents;
  }

  beforeEach(async () => {
    provider = await LocalProvider.start(name);
  });

  afterEach(async () => {
    client.stop();
    await server.stop();
    await provider.stop();
  });

  it('events published in Python arrive in order', async () => {
    await begin('memory');
    await whenKind(client, 'realtime');
    expect(client.state.get().transport).toBe(name);
    await server.publish(CHANNEL, 1, 2, 3);
    await server.publish(CHANNEL, 4);
    expect(await journal.until(4)).toEqual([1, 2, 3, 4]);
  });

  it('oversized event is fetched from the log', async () => {
    await begin('memory');
    await whenKind(client, 'realtime');
    await server.publish(CHANNEL, 1);
    await server.publishText(CHANNEL, 'x'.repeat(200_000));
    await server.publish(CHANNEL, 3);
    expect(await journal.until(3)).toEqual([1, 200_000, 3]);
  });

  it('polling replaces a stopped provider without a loss', async () => {
    await begin('memory');
    await whenKind(client, 'realtime');
    await server.publish(CHANNEL, 1);
    await provider.stop();
    await whenKind(client, 'polling');
    await server.publish(CHANNEL, 2);
    expect(await journal.until(2)).toEqual([1, 2]);
    const variable = Object.keys(provider.environment).find((one) => one.endsWith('_PORT'))!;
    provider = await LocalProvider.start(name, Number(provider.environment[variable]));
    await when(client.state, ({ transport }) => transport === name);
    await server.publish(CHANNEL, 3);
    expect(await journal.until(3)).toEqual([1, 2, 3]);
  });

  it('denied channel does not affect the others', async () => {
    await begin('memory');
    const other = new Journal();
    client.subscribe('user-7', other);
    await when(client.channel('user-7'), ({ error }) => error !== null);
    await whenCurrent(client, CHANNEL);
    await server.publish(CHANNEL, 1);
    expect(await journal.until(1)).toEqual([1]);
    expect(other.entries).toEqual(['denied']);
  });

  it('many channels with long names go live by one request', async () => {
    server = await Server.start(0, { ...provider.environment, REALTIME_LOG: 'memory' });
    client = new HybridClient({ endpoint: server.url, token: token('42', undefined, 'job.*') });
    const names = Array.from({ length: 90 }, () => `job.${crypto.randomUUID()}`);
    for (const name of names) client.subscribe(name, {});
    client.start();
    await whenKind(client, 'realtime');
    expect(client.state.get().transport).toBe(name);
    journal = new Journal();
    client.subscribe(names[89]!, journal);
    await server.publish(names[89]!, 1);
    expect(await journal.until(1)).toEqual([1]);
  });

  it('unsubscribed channel can be subscribed again', async () => {
    await begin('memory');
    const remove = client.subscribe('user-42', {});
    remove();
    const later = new Journal();
    await whenCurrent(client, CHANNEL);
    client.stop();
    client.start();
    await whenKind(client, 'realtime');
    client.subscribe(CHANNEL, later);
    await server.publish(CHANNEL, 1);
    expect(await later.until(1)).toEqual([1]);
  });

  it.each(['memory', 'none'])('members are each user once over all tabs, with the log %s', { timeout: 60_000 }, async (log) => {
    await begin(log);
    const changes: string[] = [];
    const tabs: HybridClient[] = [];
    const tokens = new Map(['ada', 'bob', 'cyd'].map((user) => [user, token(user, undefined, 'chat.*')]));
    const open = (user: string, noted: string[] = []) => {
      const tab = new HybridClient({ endpoint: server.url, token: tokens.get(user)! });
      tabs.push(tab);
      const { state } = tab.presence('chat.1', {
        onJoin: (member) => noted.push(`+${member.user}`),
        onLeave: (member) => noted.push(`-${member.user}`),
      });
      state.subscribe(() => {});
      tab.start();
      const shows = (...users: string[]) =>
        when(state, ({ members, phase }) => phase === 'current' && String(members.map(({ user }) => user).sort()) === String(users));
      return { tab, shows };
    };
    const ada = open('ada', changes);
    await ada.shows('ada');
    const bob = open('bob');
    await Promise.all([ada.shows('ada', 'bob'), bob.shows('ada', 'bob')]);
    const second = open('bob');
    await second.shows('ada', 'bob');
    bob.tab.stop();
    const third = open('bob');
    await third.shows('ada', 'bob');
    second.tab.stop();
    const cyd = open('cyd');
    await ada.shows('ada', 'bob', 'cyd');
    expect(changes).toEqual(['+bob', '+cyd']);
    cyd.tab.stop();
    const { members, count } = await ada.shows('ada', 'bob');
    expect([members[0], count]).toEqual([{ user: 'ada', info: null }, 2]);
    expect(changes).toEqual(['+bob', '+cyd', '-cyd']);
    for (const tab of tabs) tab.stop();
  });

  it('members of a denied channel are denied', async () => {
    await begin('memory');
    const { state } = client.presence('chat.1');
    state.subscribe(() => {});
    expect((await when(state, ({ error }) => error !== null)).count).toBe(0);
  });

  it('signal mode starts without a reset', async () => {
    await begin('none');
    await whenKind(client, 'realtime');
    await server.publish(CHANNEL, 1, 2);
    expect(await journal.until(2)).toEqual([1, 2]);
  });

  it('faulty provider costs no client an event, and no stream an item', { timeout: 60_000 }, async () => {
    await provider.stop();
    const faults = ['--lose', '0.05', '--duplicate', '0.05', '--reorder', '0.1'];
    provider = await LocalProvider.start(name, 0, ...faults);
    await begin('memory', { REALTIME_HISTORY_EVENTS: '20000', REALTIME_HISTORY_BYTES: '20000000' });
    const credentials = token('42', undefined, 'chat.*');
    const others = [1, 2].map(() => new HybridClient({ endpoint: server.url, token: credentials }));
    const journals = [journal, ...others.map(() => new Journal())];
    for (const [index, other] of others.entries()) {
      other.subscribe(CHANNEL, journals[index + 1]!);
      other.start();
    }
    const pages = others.map((other) => other.stream('chat.1', 'm1').state);
    for (const page of pages) page.subscribe(() => {});
    await Promise.all([client, ...others].map((one) => whenKind(one, 'realtime')));
    const writer = new StreamWriter(server, 'chat.1', 'm1');
    await writer.start();
    await writer.append(60);
    await writer.end();
    const published = await publishAll(10_000);
    // Later events reveal earlier losses.
    await server.publish('chat.1', ...Array(20).keys());
    await server.publish(CHANNEL, 0);
    for (const page of pages) {
      expect(await when(page, ({ state }) => state === 'completed')).toMatchObject({ text: writer.text, trimmed: false });
    }
    for (const one of journals) expect(await one.until(10_001)).toEqual([...published, 0]);
    for (const other of others) other.stop();
  });
}
