/** Channel of a user, which belongs to that user without a rule. */

const MAX_CHANNEL = 128;

/**
 * Return the channel of a user: `user-42`, `user-auth0=7C1`.
 *
 * Each character that channels do not have is written as its UTF-8 bytes, each as `=` and two hex digits.
 */
export function userChannel(user: string | number | bigint): string {
  // A URIError for half a surrogate pair.
  const channel = `user-${String(user).replace(/[^\w@,.;-]/gu, encode)}`;
  if (!user || channel.length > MAX_CHANNEL) throw new RangeError(`No channel: ${channel}`);
  return channel;
}

/** Return the channel of a user; null while the user is not known: null, undefined or an empty id. */
export function currentUserChannel(user: string | number | null | undefined): string | null {
  return user == null || user === '' ? null : userChannel(user);
}

function encode(character: string): string {
  if (character > '~') return encodeURIComponent(character).replaceAll('%', '=');
  return `=${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
