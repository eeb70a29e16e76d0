/** One way on which a server pushes: what WebSocket and SSE have in common. */

import type { ClientFrame, Frame } from './frames.js';

export interface Link {
  send(frame: ClientFrame): void;
  /** Nothing is heard of it after that. */
  close(code: number): void;
}

export interface LinkHandlers {
  opened(): void;
  frame(frame: Frame): void;
  /** Heard once at most: it failed, or the server closed it. */
  closed(code: number, reason: string): void;
}

/** What a connection ends with when nobody said why. */
export const ABNORMAL = 1006;
