/** Error of a reader whose items are void: another attempt has begun the stream again. */

/**
 * The AI SDK takes a `TypeError` that names the network for a lost connection: `onFinish` gets
 * `isDisconnect`, and `resumeStream()` then replaces the message.
 */
export class StreamRestartedError extends TypeError {
  override readonly name = 'StreamRestartedError';

  constructor(stream: string | null) {
    super(`network: another attempt began stream ${stream} again, resume it`);
  }
}
