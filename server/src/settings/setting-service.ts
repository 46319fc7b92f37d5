import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CallContext } from 'nice-grpc';
import type { DeleteSettingRequest, SetSettingRequest, SettingServiceImplementation } from '../gen/stafett/v1/setting.js';
import { invalidField } from '../rpc/errors.js';
import { checkId, checkName, checkPageSize, checkPageToken, checkText, toPageToken } from '../rpc/fields.js';
import type { NamespaceSettings, Wish } from './namespace-settings.js';
import { settingNotFound } from './refusals.js';
import { toProtoPast, toProtoSetting } from './setting-views.js';
import { SettingWatch } from './setting-watch.js';
import type { Settings } from './settings.js';

/** Revisions are microseconds since 1970; none is later than the year 2255. */
const REVISION_MAX = BigInt(Number.MAX_SAFE_INTEGER);

export interface SettingServiceOptions {
  readonly settings: Settings;
  readonly maxSettingBytes: number;
  /** Rules for certain keys. @throws {StafettError} INVALID_FIELD when the change would break one. */
  readonly check: (settings: NamespaceSettings, key: string, value: string | undefined) => Promise<void>;
}

type Context = CallContext & { namespace: string };

export function createSettingService(options: SettingServiceOptions): SettingServiceImplementation<{ namespace: string }> {
  const { settings, maxSettingBytes, check } = options;

  return {
    async setSetting(request, context) {
      const { key, value } = request;
      const wish = toWish(request, value, context);
      checkValue(value, maxSettingBytes);
      const of = settings.of(context.namespace);
      await check(of, key, value);
      await stillWanted(context);
      const setting = await of.change(wish);
      return { setting: setting && toProtoSetting(setting) };
    },

    async getSetting({ key }, { namespace }) {
      checkName('key', key);
      const setting = await settings.of(namespace).get(key);
      if (!setting) throw settingNotFound(key);
      return { setting: toProtoSetting(setting) };
    },

    async listSettings({ prefix, pageSize, pageToken }, { namespace }) {
      checkText('prefix', prefix);
      const page = await settings.of(namespace).list(prefix, checkPageToken(pageToken), checkPageSize(pageSize));
      return { settings: page.settings.map(toProtoSetting), nextPageToken: toPageToken(page.last) };
    },

    async deleteSetting(request, context) {
      const wish = toWish(request, undefined, context);
      const of = settings.of(context.namespace);
      await check(of, request.key, undefined);
      await stillWanted(context);
      const change = await of.change(wish);
      return { revision: BigInt(change?.revision ?? 0) };
    },

    async getSettingHistory({ key }, { namespace }) {
      checkName('key', key);
      const changes = await settings.of(namespace).history(key);
      return { changes: changes.map((change) => toProtoPast(key, change)) };
    },

    async *watchSettings({ prefix, fromRevision }, { namespace, signal }) {
      checkText('prefix', prefix);
      yield* new SettingWatch(settings.of(namespace), prefix).run(checkRevision('from_revision', fromRevision), signal);
    },
  };
}

function toWish(request: SetSettingRequest | DeleteSettingRequest, value: string | undefined, { peer }: Context): Wish {
  const { key, ifRevision, ifUnchangedSince, author, requestId } = request;
  checkName('key', key);
  checkText('author', author);
  if (requestId !== '') checkId('request_id', requestId);
  if (ifRevision !== undefined) checkRevision('if_revision', ifRevision);
  if (ifUnchangedSince !== undefined) checkRevision('if_unchanged_since', ifUnchangedSince);
  return { key, value, ifRevision, ifUnchangedSince, author: author || peer, request: requestId || randomUUID() };
}

/** A server that stood still may find a request and then its end: nobody waits for that any more, and others may have changed what it is about. */
async function stillWanted({ signal }: Context): Promise<void> {
  await nextTurn();
  signal.throwIfAborted();
}

function checkRevision(field: string, revision: bigint): bigint {
  if (revision > REVISION_MAX) throw invalidField(field, 'is no revision: it is too high');
  return revision;
}

function checkValue(value: string, bytesMax: number): void {
  checkText('value', value, bytesMax);
  try {
    JSON.parse(value);
  } catch (error) {
    throw invalidField('value', `is no JSON text: ${(error as Error).message}`);
  }
}
