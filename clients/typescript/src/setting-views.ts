import type { Setting, SettingChange } from './gen/stafett/v1/setting.js';
import { toDate } from './views.js';

/** A setting, as it is or was. */
export interface SettingView {
  readonly key: string;
  /** What was set; undefined if it was deleted. */
  readonly value: unknown;
  /** The revision of the change that set it. Grows over the whole namespace and never goes back. */
  readonly revision: bigint;
  readonly updateTime: Date;
  readonly author: string;
}

/** A change in the history of a setting. */
export interface PastSettingView extends SettingView {
  readonly deleted: boolean;
  /** The value was too long to be kept, and is undefined. */
  readonly valueOmitted: boolean;
}

/** News of the settings that are watched, told apart by `type`. */
export type SettingEvent =
  | {
      /** All there are; first of all, and again with `reset: true` when changes may have been missed. */
      readonly type: 'snapshot';
      readonly settings: readonly SettingView[];
      readonly reset: boolean;
    }
  | { readonly type: 'set' | 'deleted'; readonly setting: SettingView };

export function toSettingView({ key, value, revision, updateTime, author }: Setting): SettingView {
  return { key, value: value === '' ? undefined : JSON.parse(value), revision, updateTime: toDate(updateTime), author };
}

export function toPastView({ setting, deleted, valueOmitted }: SettingChange): PastSettingView[] {
  return setting ? [{ ...toSettingView(setting), deleted, valueOmitted }] : [];
}
