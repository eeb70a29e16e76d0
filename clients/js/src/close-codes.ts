/**
 * Codes that end a WebSocket connection: RFC 6455's, and those of docs/semantics.md §6.
 * Twin of close_codes.py. Codes from 4500 to 4599 invite the client to connect again.
 *
 * An `enum`, since the build replaces its members by their numbers.
 */
export enum CloseCode {
  /** This side no longer needs the connection. */
  NORMAL = 1000,
  /** The connection ended without a close frame; never sent. */
  ABNORMAL = 1006,
  /** The server restarts. */
  RESTART = 1012,
  /** The client sent an invalid message. */
  PROTOCOL = 4400,
  /** The token is missing, invalid or expired. */
  TOKEN = 4401,
  /** The user has no access. */
  FORBIDDEN = 4403,
  /** The client sent no `connect` in time. */
  NO_CONNECT = 4408,
  /** The user has too many connections. */
  TOO_MANY = 4409,
  /** Push is switched off. */
  DISABLED = 4410,
  /** A hosted provider delivers nothing; never sent. */
  UNDELIVERED = 4420,
  /** The client sends too many messages. */
  RATE_LIMIT = 4429,
  /** The server failed. */
  INTERNAL = 4500,
  /** The server drains its connections before it stops. */
  DRAINING = 4503,
  /** The client reads too slowly. */
  SLOW = 4508,
  /** The connection reached its maximum age. */
  ROTATED = 4509,
}
