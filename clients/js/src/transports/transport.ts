/** One way on which a server pushes: what WebSocket and SSE have in common. */

import type { UrlName } from '../http/descriptor.js';
import type { ClientFrame, Fields, Frame } from '../messages.js';
import type { Request } from '../http/request.js';
import type { Timing } from '../machine/timing.js';
import type { Position } from '../types.js';

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

export type Positions = Readonly<Record<string, Position | null>>;

/** What a link that is loaded on demand is given, so that it brings nothing of that along. */
export interface LinkTools {
  readonly timing: Timing;
  /** The address of a route. */
  url(name: UrlName): string;
  ask(url: string, request: Request): Promise<Response>;
  parse(text: string): Frame;
  positions(): Positions;
  /** Of the last descriptor. */
  token(): string;
  options(): Fields;
  guarantee(): 'log' | 'signal';
  isHidden(): boolean;
}

/** Opens a link; throws where it cannot be opened at all. */
export type OpenLink = (tools: LinkTools, handlers: LinkHandlers) => Link;

/** What a connection ends with when nobody said why. */
export const ABNORMAL = 1006;
