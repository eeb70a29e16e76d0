/** Stream that is read in another form, such as the chunks of an SDK. */

import type { Stream, StreamState } from '../types.js';

/** Form of a stream: what each state adds. */
export interface StreamReader<Value> {
  /** True after the last value. */
  readonly isOver: boolean;
  read(state: StreamState<unknown>): readonly Value[];
}

/** Receiver of the values, in the terms of observables. */
export interface Receiver<Value> {
  next(value: Value): void;
  error(error: unknown): void;
  complete(): void;
}

/** Read a stream to its end; return a function that ends the reading earlier. */
export function readStream<Value>(source: Stream<unknown>, reader: StreamReader<Value>, receiver: Receiver<Value>): () => void {
  let isReading = true;
  const update = (): void => {
    if (!isReading) return;
    try {
      for (const value of reader.read(source.state.get())) receiver.next(value);
    } catch (error) {
      finish(() => receiver.error(error));
    }
    if (isReading && reader.isOver) finish(() => receiver.complete());
  };
  const unsubscribe = source.state.subscribe(update);
  update();
  return stop;

  function finish(call: () => void): void {
    stop();
    call();
  }

  function stop(): void {
    isReading = false;
    unsubscribe();
  }
}
