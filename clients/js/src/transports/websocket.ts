/** Frames by a WebSocket. */

import { SUBPROTOCOL, parseFrame } from '../messages.js';
import type { ClientFrame } from '../messages.js';
import { ABNORMAL } from './transport.js';
import type { Link, LinkHandlers } from './transport.js';

const OPEN = 1;

/** Opens at once; throws where there are no WebSockets, or the address is none. */
export class WebSocketLink implements Link {
  private readonly _socket: WebSocket;

  constructor(
    url: string,
    private readonly _handlers: LinkHandlers,
  ) {
    this._socket = new WebSocket(url.replace(/^http/, 'ws'), [SUBPROTOCOL]);
    // `onclose` follows it, with the code; outside browsers an error that nobody hears is thrown.
    this._socket.onerror = () => {};
    this._socket.onopen = () => _handlers.opened();
    this._socket.onmessage = ({ data }: MessageEvent) => this._receive(data);
    this._socket.onclose = ({ code, reason }: CloseEvent) => {
      this._forget();
      _handlers.closed(code || ABNORMAL, reason);
    };
  }

  send(frame: ClientFrame): void {
    if (this._socket.readyState === OPEN) this._socket.send(JSON.stringify(frame));
  }

  close(code: number): void {
    this._forget();
    this._socket.close(code);
  }

  private _receive(data: unknown): void {
    let frame;
    try {
      frame = parseFrame(data);
    } catch (error) {
      this.close(1000);
      this._handlers.closed(ABNORMAL, String(error));
      return;
    }
    this._handlers.frame(frame);
  }

  private _forget(): void {
    this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
  }
}
