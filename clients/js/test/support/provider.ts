/** Local provider in a separate process (`realtime-bridge dev-provider`), on a free port. */

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { COMMAND } from './server.js';

export class LocalProvider {
  private constructor(
    private readonly process: ChildProcess,
    /** Environment of a server that delivers by this provider. */
    readonly environment: Record<string, string>,
  ) {}

  static async start(name: string, port = 0, ...faults: string[]): Promise<LocalProvider> {
    const running = spawn(COMMAND, ['dev-provider', name, '--port', String(port), ...faults], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const environment: Record<string, string> = {};
    for await (const line of createInterface({ input: running.stdout })) {
      const [, variable = '', value = ''] = /^export ([^=]+)=(.*)$/.exec(line) ?? [];
      environment[variable] = value;
      if (variable.endsWith('_TLS')) return new LocalProvider(running, environment);
    }
    throw new Error(`the local ${name} did not start`);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await ended;
  }
}
