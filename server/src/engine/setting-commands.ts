/** The commands on settings, as `commands.ts` types the others. They are described in `scripts/setting-commands.lua`. */

/** [revision, value, time, author, request] */
export type SettingRecord = [revision: number, value: string, time: number, author: string, request: string];
/** A value of `false`: it was deleted. */
export type ChangeView = [
  revision: number,
  before: number,
  key: string,
  value: string | false,
  time: number,
  author: string,
  request: string,
];
/** A value of `false`: it was deleted; of `true`: it was too long to be kept. */
export type PastChange = [revision: number, value: string | boolean, time: number, author: string, request: string];

export type SettingCommand =
  | [
      'setting_change',
      epoch: string,
      key: string,
      value: string | false,
      ifRevision: number,
      ifUnchangedSince: number,
      author: string,
      request: string,
      countMax: number,
      bytesMax: number,
    ]
  | ['setting_get', epoch: string, key: string]
  | ['setting_history', epoch: string, key: string]
  | ['setting_list', epoch: string, prefix: string, after: string, limit: number, bytes: number]
  | ['setting_dump', epoch: string]
  | ['setting_since', epoch: string, revision: number]
  | [
      'setting_assert',
      epoch: string,
      revision: number,
      fromFile: 0 | 1,
      entries: (string | SettingRecord)[],
      requests: (string | number)[],
    ];

/** Another epoch than the server has asserted in; or: servers that know more may still come. */
export type NotNow = ['unasserted'] | ['grace', leftMs: number];

export interface SettingResults {
  setting_change:
    | ['changed', revision: number, before: number, time: number]
    | ['absent']
    | ['mismatch', revision: number, changed: number]
    | ['too_many']
    | NotNow;
  setting_get: ['setting', record: SettingRecord | false] | NotNow;
  setting_history: ['history', changes: PastChange[]] | NotNow;
  setting_list: ['settings', views: [key: string, record: SettingRecord][], last: string] | NotNow;
  setting_dump: ['dump', revision: number, floor: number, entries: (string | SettingRecord)[], log: ChangeView[]] | NotNow;
  setting_since: ['changes', changes: ChangeView[]] | ['compacted'] | NotNow;
  setting_assert: ['asserted', isNews: 0 | 1] | ['unasserted'];
}

export type SettingVerb = keyof SettingResults;
