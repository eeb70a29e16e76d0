/** Values that can be read and watched. */

import { expect, it, vi } from 'vitest';
import { Store } from '../../src/browser/store.js';


it('listeners are called for changes only', () => {
  const store = new Store({ a: 1, b: 2 });
  const listener = vi.fn();
  const end = store.subscribe(listener);
  store.merge({ a: 1 });
  expect(listener).not.toHaveBeenCalled();
  store.merge({ a: 3 });
  expect(store.get()).toEqual({ a: 3, b: 2 });
  end();
  store.merge({ a: 4 });
  expect(listener).toHaveBeenCalledTimes(1);
});
