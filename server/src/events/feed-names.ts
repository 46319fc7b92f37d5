import { invalidField } from '../rpc/errors.js';
import { checkName } from '../rpc/fields.js';

/**
 * The names of feeds: of one channel, `case/42`, or of all channels with a prefix, `case/*` or `*`. Channels that begin with
 * `$` are for the server's own use: nobody else can publish or subscribe to them, and `*` does not cover them.
 */

/** Segments of a prefix. A channel may have more; its deeper prefixes are no feeds. */
const PREFIX_SEGMENTS_MAX = 8;

/** The feeds that a publication belongs to: its channel, then the prefixes that cover it, shortest first. */
export function feedsOf(channel: string): string[] {
  const feeds = [channel, channel.startsWith('$') ? '$*' : '*'];
  for (let end = channel.indexOf('/'); end >= 0 && feeds.length < PREFIX_SEGMENTS_MAX + 2; end = channel.indexOf('/', end + 1)) {
    feeds.push(`${channel.slice(0, end)}/*`);
  }
  return feeds;
}

/** Which of the feeds of its publications this one is: an index of `feedsOf`. */
export function depthOf(feed: string): number {
  return isPrefix(feed) ? feed.split('/').length : 0;
}

export function isPrefix(feed: string): boolean {
  return feed.endsWith('*');
}

export function covers(feed: string, channel: string): boolean {
  if (!isPrefix(feed)) return feed === channel;
  return channel.startsWith(feed.slice(0, -1)) && (feed !== '*' || !channel.startsWith('$'));
}

/** A pattern of Redis' for the same. */
export function patternOf(prefix: string): string {
  return `${prefix.slice(0, -1).replace(/[\\*?[\]]/g, '\\$&')}*`;
}

export function checkChannel(field: string, channel: string): void {
  checkName(field, channel);
  if (channel.startsWith('$')) throw invalidField(field, 'begins with $: such names are the server’s own');
  if (channel.includes('*')) throw invalidField(field, 'contains *; a channel may not, and a prefix of channels is no channel');
}

/** A channel or a prefix. */
export function checkFeed(field: string, feed: string): void {
  if (!isPrefix(feed)) return checkChannel(field, feed);
  checkName(field, feed);
  if (feed === '*') return;
  const start = feed.slice(0, -1);
  if (!start.endsWith('/')) throw invalidField(field, 'a prefix ends with /*, or is *');
  checkChannel(field, start);
  if (depthOf(feed) > PREFIX_SEGMENTS_MAX + 1) throw invalidField(field, `a prefix has at most ${PREFIX_SEGMENTS_MAX} segments`);
}
