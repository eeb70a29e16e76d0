/** Compares our positions with the log's at intervals, to detect events that a provider lost. */

import type { Fields, ServerMessage } from '../../messages.js';
import type { TransportTools } from '../transport.js';
import { FORBIDDEN, fetchLog, messagesOf } from './log-fetcher.js';

export interface PositionCheckerListener {
  channels(): string[];
  message(message: ServerMessage): void;
  /** Handle a provider that delivers nothing: twice the log had new events, and none arrived. */
  failed(): void;
  /** Handle a refusal of this client by the bridge, 401 or 403. */
  denied(status: number): void;
}

/** Offset beyond any other: the client then reads the channel's position from the log. */
const BEYOND = Number.MAX_SAFE_INTEGER;

const DENIED = [401, 403];

export class PositionChecker {
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _stopped = new AbortController();
  /** True if an event arrived since the last check. */
  private _received = false;
  private _lastMiss = -Infinity;

  constructor(
    private readonly _tools: TransportTools,
    private readonly _listener: PositionCheckerListener,
  ) {}

  start(): void {
    const { positionCheckInterval } = this._tools.timing;
    // Spread little: a lost event has to be found within 35 s, and a page may ask 5 times in 2 minutes.
    const wait = positionCheckInterval * (0.94 + 0.12 * Math.random());
    this._timer = setTimeout(() => void this._check().finally(() => this._continue()), wait);
  }

  stop(): void {
    clearTimeout(this._timer);
    this._stopped.abort();
  }

  /** Record the arrival of an event. */
  eventReceived(): void {
    this._received = true;
  }

  /** Ask the bridge soon whether this client still has access. */
  checkAccess(): void {
    // At different times: a channel may have many clients.
    const wait = this._tools.timing.wakeSpread * Math.random();
    setTimeout(() => void this._fetch(this._listener.channels()), wait);
  }

  private _continue(): void {
    if (!this._stopped.signal.aborted) this.start();
  }

  private async _check(): Promise<void> {
    const channels = this._listener.channels();
    if (this._tools.isHidden() || !channels.length) return;
    const fields = await this._fetch(channels);
    if (!fields) return;
    const offsets = newOffsets(fields.channels as Record<string, Fields>);
    const silent = !this._received && Object.keys(offsets).length > 0;
    this._received = false;
    this._listener.message({ type: 'heartbeat', offsets, generation: fields.generation });
    // The event may still be on its way by the provider.
    if (silent) this._timer = setTimeout(() => this._judge(), this._tools.timing.lateEventAllowance);
  }

  /** Request the log's positions, and report what the bridge denies. */
  private async _fetch(channels: string[]): Promise<Fields | null> {
    if (this._stopped.signal.aborted) return null;
    try {
      const fields = await fetchLog(this._tools, channels, this._stopped.signal);
      for (const [channel, answer] of Object.entries(fields.channels as Record<string, Fields>)) {
        for (const message of messagesOf(channel, answer)) if (isDenial(message)) this._listener.message(message);
      }
      return fields;
    } catch (error) {
      const { status } = error as { status?: number | null };
      if (DENIED.includes(Number(status))) this._listener.denied(Number(status));
      // After another failure the next check repeats the request, and requests for missing events report it.
      return null;
    }
  }

  private _judge(): void {
    if (this._received) return;
    const now = performance.now();
    if (now - this._lastMiss < this._tools.timing.missedEventWindow) this._listener.failed();
    this._lastMiss = now;
  }
}

function isDenial({ type, code }: ServerMessage): boolean {
  return type === 'refused' && code === FORBIDDEN;
}

/** Return the log's offsets of the channels in which it has new events. */
function newOffsets(answers: Record<string, Fields>): Record<string, number> {
  const moved = Object.entries(answers).filter(
    ([, { events, reset }]) => (reset && reset !== 'forbidden') || (events as unknown[])?.length,
  );
  return Object.fromEntries(
    moved.map(([name, { position, reset }]) => [name, reset ? BEYOND : Number((position as Fields).offset)]),
  );
}
