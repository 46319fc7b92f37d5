import type { PastChange } from '../engine/setting-commands.js';
import type { Setting as ProtoSetting, SettingChange } from '../gen/stafett/v1/setting.js';
import { toTimestamp } from '../rpc/fields.js';
import type { Setting } from './mirror.js';

export function toProtoSetting({ key, value = '', revision, time, author }: Setting): ProtoSetting {
  return { key, value, revision: BigInt(revision), updateTime: toTimestamp(time), author };
}

export function toProtoChange(setting: Setting): SettingChange {
  return { setting: toProtoSetting(setting), deleted: setting.value === undefined, valueOmitted: false };
}

export function toProtoPast(key: string, [revision, value, time, author, request]: PastChange): SettingChange {
  const text = typeof value === 'string' ? value : undefined;
  const setting = toProtoSetting({ key, value: text, revision, time, author, request });
  return { setting, deleted: value === false, valueOmitted: value === true };
}
