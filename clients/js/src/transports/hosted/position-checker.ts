/** Compares our positions with the log's at intervals, to detect events that a provider lost. */

import type { Fields, ServerMessage } from '../../messages.js';
import type { TransportTools } from '../transport.js';
import { fetchLog } from './log-fetcher.js';

export interface PositionCheckerListener {
  channels(): string[];
  message(message: ServerMessage): void;
  /** Handle a provider that delivers nothing: twice the log had new events, and none arrived. */
  failed(): void;
}

/** Offset beyond any other: the client then reads the channel's position from the log. */
const BEYOND = Number.MAX_SAFE_INTEGER;

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
    const wait = this._tools.timing.positionCheckInterval * (0.8 + 0.4 * Math.random());
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

  private _continue(): void {
    if (!this._stopped.signal.aborted) this.start();
  }

  private async _check(): Promise<void> {
    const channels = this._listener.channels();
    if (this._tools.isHidden() || !channels.length) return;
    let fields: Fields;
    try {
      fields = await fetchLog(this._tools, channels, this._stopped.signal);
    } catch {
      // The next check repeats the request; requests for missing events report the failure.
      return;
    }
    const offsets = newOffsets(fields.channels as Record<string, Fields>);
    const silent = !this._received && Object.keys(offsets).length > 0;
    this._received = false;
    this._listener.message({ type: 'heartbeat', offsets, generation: fields.generation });
    // The event may still be on its way by the provider.
    if (silent) this._timer = setTimeout(() => this._judge(), this._tools.timing.lateEventAllowance);
  }

  private _judge(): void {
    if (this._received) return;
    const now = performance.now();
    if (now - this._lastMiss < this._tools.timing.missedEventWindow) this._listener.failed();
    this._lastMiss = now;
  }
}

/** Return the log's offsets of the channels in which it has new events. */
function newOffsets(answers: Record<string, Fields>): Record<string, number> {
  const moved = Object.entries(answers).filter(([, { events, reset }]) => reset || (events as unknown[])?.length);
  return Object.fromEntries(
    moved.map(([name, { position, reset }]) => [name, reset ? BEYOND : Number((position as Fields).offset)]),
  );
}
