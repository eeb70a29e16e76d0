/** Agent of AG-UI whose runs a worker streams. */

import { AbstractAgent } from '@ag-ui/client';
import type { AgentConfig, BaseEvent, RunAgentInput } from '@ag-ui/client';
import { EMPTY, from, Observable, switchMap } from 'rxjs';
import { report } from '../browser/report.js';
import { askForStream } from '../streams/ask.js';
import { readStream } from '../streams/read-stream.js';
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

/** `connectAgent()` reads the newest run of a thread from its first event; `abortRun()` stops the run for all its readers. */
export class BridgeAgent extends AbstractAgent {
  private _source: Stream<unknown> | null = null;

  constructor(private _config: BridgeAgentConfig) {
    super(_config);
  }

  override run(input: RunAgentInput): Observable<BaseEvent> {
    return this._follow(new EventReader(input), askForStream(this._config.url, input));
  }

  override abortRun(): void {
    this._source?.stop().catch(report);
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
    return from(place).pipe(switchMap((address) => (address ? this._read(reader, address) : EMPTY)));
  }

  private _read(reader: EventReader, { channel, stream }: StreamAddress): Observable<BaseEvent> {
    const source = this._config.client.stream<unknown>(channel, stream);
    this._source = source;
    return new Observable((subscriber) => readStream(source, reader, subscriber));
  }
}
