/** Bridge in a separate process (`realtime-bridge serve`), on a free port. */

import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const COMMAND = fileURLToPath(new URL('../../../../.venv/bin/realtime-bridge', import.meta.url));
const SECRET = 'only-for-tests-only-for-tests-only-for-tests';
export const ANOTHER_SECRET = 'another-for-tests-another-for-tests-another';

/** Environment of a server whose clock is 40 s slow. */
export const SLOW_CLOCK = {
  PYTHONPATH: fileURLToPath(new URL('../../../../tests/services/clock', import.meta.url)),
  CLOCK_OFFSET: '-40',
};

/** In memory: a log in a file would keep the events of an earlier run. */
const OWN = { REALTIME_SECRET: SECRET, REALTIME_BACKEND: 'websocket', REALTIME_LOG: 'memory' };
const ENVIRONMENT = { ...process.env, ...OWN };

export class Server {
  private constructor(
    private readonly process: ChildProcess,
    readonly port: number,
    private readonly _secret: string,
  ) {}

  /** Start a server; `port` 0 means any free port. */
  static async start(port = 0, environment: Record<string, string> = {}): Promise<Server> {
    const env = { ...ENVIRONMENT, ...environment };
    const running = spawn(COMMAND, ['serve', '--port', String(port)], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    for await (const line of createInterface({ input: running.stderr })) {
      output += `${line}\n`;
      const match = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line);
      if (match) return new Server(running, Number(match[1]), env.REALTIME_SECRET);
    }
    throw new Error(`the server did not start: ${output}`);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/realtime`;
  }

  publish(channel: string, ...percents: number[]): Promise<void> {
    return this.publishAs(undefined, channel, ...percents);
  }

  async publishAs(source: string | undefined, channel: string, ...percents: number[]): Promise<void> {
    const fields = { channel, event: 'job.progress', key: 'job', source };
    await this.publishEvents(percents.map((percent) => ({ ...fields, data: { percent } })));
  }

  /** Publish a large text; a journal records its length. */
  publishText(channel: string, text: string): Promise<void> {
    const data = { percent: text.length, text };
    return this.publishEvents([{ channel, event: 'job.progress', data }]);
  }

  async publishEvents(events: object[]): Promise<void> {
    const body = JSON.stringify({ events });
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const signature = createHmac('sha256', this._secret).update(`${timestamp}.${body}`).digest('hex');
    const response = await fetch(`${this.url}/publish`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'realtime-timestamp': timestamp,
        'realtime-signature': signature,
      },
    });
    if (!response.ok) throw new Error(await response.text());
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await ended;
  }
}

/** Create a token of `user` by the command line. */
export function token(user: string, secret = SECRET, ...channels: string[]): string {
  const env = { ...ENVIRONMENT, REALTIME_SECRET: secret };
  const options = channels.flatMap((channel) => ['--channel', channel]);
  return execFileSync(COMMAND, ['token', user, ...options], { env, encoding: 'utf8' }).trim();
}
