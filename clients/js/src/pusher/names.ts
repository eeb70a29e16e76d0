/** Channels of Pusher, as the bridge names them. */

/** The longer prefix comes first; a public channel has none at Pusher. */
const STARTS = { '#server-to-user-': 'server-to-user.', 'presence-': 'presence.', 'private-': '', '': 'public.' };

/**
 * Return the bridge's channel of Pusher's name.
 *
 * @throws {RangeError} The name is of an encrypted channel, whose keys only the application has.
 */
export function channelOf(name: string): string {
  if (name.startsWith('private-encrypted-')) throw new RangeError(`Encrypted channels need pusher-js: ${name}`);
  const [prefix, start] = Object.entries(STARTS).find(([prefix]) => name.startsWith(prefix)) as [string, string];
  return start + name.slice(prefix.length);
}

/**
 * Return a client's id in the form of Pusher's socket ids, which server libraries accept: two numbers.
 *
 * By the zero before it the server knows that this page is one of ours, and gets no event that names it.
 */
export function socketIdOf(client: string): string {
  const [high, low] = [client.slice(2, 10), client.slice(10, 18)].map((part) => Number.parseInt(part, 16));
  return `0${high}.${low}`;
}
