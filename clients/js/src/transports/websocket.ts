/** WebSocket transport. */

import { CloseCode } from '../close-codes.js';
import { INVALID_MESSAGE, SUBPROTOCOL, parseMessage } from '../messages.js';
import type { ClientMessage } from '../messages.js';
import type { Transport, TransportHandlers } from './transport.js';

const OPEN = 1;

/** Connection by a WebSocket; throws where there are none, or the URL is invalid. */
export class WebSocketTransport implements Transport {
  private readonly _socket: WebSocket;

  constructor(
    url: string,
    private readonly _handlers: TransportHandlers,
  ) {
    this._socket = new WebSocket(url.replace(/^http/, 'ws'), [SUBPROTOCOL]);
    // `onclose` follows with the code; outside browsers an error without a handler is thrown.
    this._socket.onerror = () => {};
    this._socket.onopen = () => _handlers.opened();
    this._socket.onmessage = ({ data }: MessageEvent) => this._receive(data);
    this._socket.onclose = ({ code, reason }: CloseEvent) => {
      this._release();
      _handlers.closed(code || CloseCode.ABNORMAL, reason);
    };
  }

  send(message: ClientMessage): void {
    if (this._socket.readyState === OPEN) this._socket.send(JSON.stringify(message));
  }

  close(code: number): void {
    this._release();
    this._socket.close(code);
  }

  private _receive(data: unknown): void {
    let message;
    try {
      message = parseMessage(data);
    } catch {
      this.close(CloseCode.NORMAL);
      this._handlers.closed(CloseCode.ABNORMAL, INVALID_MESSAGE);
      return;
    }
    this._handlers.message(message);
  }

  /** Remove the handlers: a closing socket may still report messages. */
  private _release(): void {
    this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
  }
}
