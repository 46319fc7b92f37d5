import type { Patch } from '../support/engine-harness.js';

/** Each breaks one promise of the engine about settings and events by a change to its source, which some of the scenarios must find. */
export const PLANTED_NEWS_BUGS: readonly (readonly [bug: string, find: string, replace: string])[] = [
  ['the expected revision is not looked at', 'if ifRevision >= 0 and ifRevision ~= revision then', 'if false then'],
  ['that it was changed since is not looked at', 'if unchangedSince >= 0 and unchangedSince < changed then', 'if false then'],
  ['deletions do not count as changes', "return tonumber(call('ZSCORE', P .. 'setting-deleted', key)) or", 'return 0 or'],
  ['a repeated change is another one', "if done then return {'changed', done, -1, time} end", ''],
  ['requests are not remembered', 'request})\n  settings.rememberRequest(key, request, revision)', 'request})'],
  ['requests are lost with Redis', 'for i = 1, #requests, 3 do', 'for i = 1, 0, 3 do'],
  ['a change names a wrong one before it', 'local revision, before = nextSeq(), meta.rev', 'local revision, before = nextSeq(), 0'],
  ['a compacted log is not told', "if revision < meta.floor then return {'compacted'} end", ''],
  ['the log is trimmed unseen', 'meta.floor = cmsgpack.unpack(oldest)[1]', ''],
  ['the log is not trimmed', 'while length > settings.LOG_MAX or', 'while length > 1e9 or'],
  ['a change tells one too many', 'if change[1] > revision then changes', 'if change[1] >= revision then changes'],
  ['an older value is put over a newer one', 'and (not now or now[1] < record[1]) then', 'then'],
  ['what was deleted comes back', 'if deleted < record[1] and (not now', 'if (not now'],
  ['what others deleted stays', 'if not present[all[i]] and cmsgpack.unpack(all[i + 1])[1] <= revision then', 'if false then'],
  ['one that has missed something prevails', 'local isNews = revision > meta.asserted and', 'local isNews ='],
  ['a file is believed after a change', '(fromFile == 0 or meta.rev <= meta.asserted)', 'true'],
  ['revisions go back', '    atLeast(revision)\n', ''],
  [
    'a server of another epoch is served',
    "if string.match(P, ':([^:]+):$') ~= epoch then return {'unasserted'} end\n  if inGrace",
    'if inGrace',
  ],
  ['what may still come is not waited for', "if inGrace and not meta.known then return {'grace', grace - NOW} end", ''],
  [
    'a change does not wait for others',
    "if done then return {'changed', done, -1, time} end\n  if inGrace then return {'grace', grace - NOW} end",
    "if done then return {'changed', done, -1, time} end",
  ],
  ['settings without number', "if not record and call('ZCARD', P .. 'setting-names') >= countMax then", 'if false then'],
  ['settings of any size', 'if grows > 0 and meta.bytes + grows > bytesMax then', 'if false then'],
  [
    'bytes only grow',
    'meta.bytes = meta.bytes - settings.sizeOf(key, settings.read(key)) + settings.sizeOf',
    'meta.bytes = meta.bytes + settings.sizeOf',
  ],
  ['an idempotency key is not looked at', 'if before then return {tonumber(before), 1} end', ''],
  ['an idempotency key counts everywhere', "P .. 'published:' .. channel .. '\\0' .. id", "P .. 'published:' .. id"],
  ['prefixes are no chains', 'local value = i == 1 and', 'if i > 1 then break end\n    local value = i == 1 and'],
  ['a publication names itself as the one before', 'before[i] = last and tonumber', 'before[i] = last and offset or last and tonumber'],
  ['a prefix tells of channels that it does not cover', 'if string.sub(channel, 1, #start) == start and', 'if'],
  ['a replay tells its beginning again', "return '(' .. decimal(offset)", 'return decimal(offset)'],
  ['a history is longer than it may be', "'MAXLEN', size, id", "'MAXLEN', size + 1, id"],
  ['a history is older than it may be', 'after(math.max(from, NOW_US - age * 1000 - 1))', 'after(from)'],
];

export function toPatch([, find, replace]: (typeof PLANTED_NEWS_BUGS)[number]): Patch {
  return { find, replace };
}
