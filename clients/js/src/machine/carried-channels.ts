/** Channels of one connection, which carries a limited number of them. Twin of carried_channels.py. */

/**
 * Channels that one connection carries, and those whose events it does not push. The first channels
 * are carried, up to the limit; each that leaves makes room for another.
 */
export class CarriedChannels {
  limit = Infinity;
  private readonly _carried = new Set<string>();
  private readonly _unpushed = new Set<string>();

  get names(): string[] {
    return [...this._carried];
  }

  /** Channels whose events are not pushed: over the limit, or refused for now. */
  get unpushed(): string[] {
    return [...this._unpushed];
  }

  /** Return whether the connection pushes the channel's events, as far as is known. */
  pushes(channel: string): boolean {
    return !this._unpushed.has(channel);
  }

  /** Carry a channel, if there is room, and return whether the connection carries it. */
  carry(channel: string): boolean {
    const carries = this._carried.has(channel) || this._carried.size < this.limit;
    (carries ? this._carried : this._unpushed).add(channel);
    return carries;
  }

  /** Record that the server refuses the channel for now. */
  refused(channel: string): void {
    this._unpushed.add(channel);
  }

  /** Record that the server pushes the channel's events. */
  subscribed(channel: string): void {
    this._unpushed.delete(channel);
  }

  /** Remove a channel, and return another one that has room now. */
  leave(channel: string): string | undefined {
    this._unpushed.delete(channel);
    return this._carried.delete(channel) ? this.unpushed.find((name) => !this._carried.has(name)) : undefined;
  }
}
