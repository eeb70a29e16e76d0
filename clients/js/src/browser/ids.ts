/** Random ids. */

/** Return random bytes as hex; `crypto.randomUUID` would need a secure context. */
export function hex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
