/** Animation frames of a page. */

/** Longest wait for a frame, in milliseconds: a hidden page gets none. */
const HIDDEN_MS = 250;

/** Wait where there are no frames at all, as on a server, in milliseconds. */
const FRAME_MS = 16;

/** Call once, in the next animation frame; return a function that cancels the call. */
export function onNextFrame(call: () => void): () => void {
  const hasFrames = typeof requestAnimationFrame === 'function';
  const frame = hasFrames ? requestAnimationFrame(run) : 0;
  const timer = setTimeout(run, hasFrames ? HIDDEN_MS : FRAME_MS);
  return cancel;

  function run(): void {
    cancel();
    call();
  }

  function cancel(): void {
    clearTimeout(timer);
    if (hasFrames) cancelAnimationFrame(frame);
  }
}
