/** Agent of AG-UI whose runs a worker streams. */

import { AbstractAgent } from '@ag-ui/client';
import type { AgentConfig, BaseEvent, RunAgentInput } from '@ag-ui/client';
import { EMPTY, from, Observable, switchMap } from 'rxjs';
import { report } from '../browser/report.js';
import { askForStream } from '../streams/ask.js';
import { readStream } from '../streams/read-stream.js';
import { stopOnceKnown } from '../streams/stop-once-known.js';
import { findStream } from '../streams/find-stream.js';
import type { StreamAddress } from '../streams/find-stream.js';
import type { Client, Stream } from '../types.js';
import { EventReader } from './event-reader.js';

export interface BridgeAgentConfig extends AgentConfig {
  /** Client of the page, such as that of `useClient()`. */
  readonly client: Client;
  /** URL of the application that gets the input of a run and answers `{channel, stream}`. */
  readonly url: string;
  /** Channel of a thread's streams. */
  readonly channelOf: (threadId: string) => string;
}

/** Run of an agent; its stream is null until the application has answered. */
interface Run {
  source: Stream<unknown> | null;
  isAborted: boolean;
}

/** `connectAgent()` reads the newest run of a thread from its first event; `abortRun()` stops the run for all its readers. */
export class BridgeAgent extends AbstractAgent {
  private _run: Run = { source: null, isAborted: false };

  constructor(private _config: BridgeAgentConfig) {
    super(_config);
  }

  override run(input: RunAgentInput): Observable<BaseEvent> {
    return this._follow(new EventReader(input), askForStream(this._config.url, input));
  }

  override abortRun(): void {
    this._run.isAborted = true;
    if (this._run.source) stopOnceKnown(this._run.source).catch(report);
  }

  override clone(): BridgeAgent {
    const agent = super.clone() as BridgeAgent;
    agent._config = this._config;
    return agent;
  }

  protected override connect(input: RunAgentInput): Observable<BaseEvent> {
    const { client, channelOf } = this._config;
    return this._follow(new EventReader(input, 'replay'), findStream(client, channelOf(input.threadId)));
  }

  private _follow(reader: EventReader, place: Promise<StreamAddress | null>): Observable<BaseEvent> {
    const run: Run = { source: null, isAborted: false };
    this._run = run;
    const opened = place.then((address) => address && this._open(run, address));
    return from(opened).pipe(
      switchMap((source) => (source ? new Observable<BaseEvent>((subscriber) => readStream(source, reader, subscriber)) : EMPTY)),
    );
  }

  private _open(run: Run, { channel, stream }: StreamAddress): Stream<unknown> {
    run.source = this._config.client.stream<unknown>(channel, stream);
    if (run.isAborted) stopOnceKnown(run.source).catch(report);
    return run.source;
  }
}
