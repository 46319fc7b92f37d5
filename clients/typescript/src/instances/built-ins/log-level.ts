import { type CallOffer, type CallParams, CallRefusal, type IncomingCall, readOnlyRefusal } from '../handler.js';

/** A logger whose level can be changed, such as pino's. */
export interface LevelledLogger {
  level: string;
  /** The levels that there are, as pino has them. Without it any text is taken. */
  readonly levels?: { readonly values: Readonly<Record<string, number>> };
}

/** Shows the level, and with `level=debug` changes it. Loggers that were made from it by `child` before keep theirs. */
export function logLevel(logger: LevelledLogger): CallOffer {
  return {
    description: 'the level of the log; with a parameter `level` it is changed',
    privileged: true,
    handle: ({ level }: CallParams, { readOnly }: IncomingCall) => {
      if (level !== undefined && readOnly) throw readOnlyRefusal();
      const before = logger.level;
      if (level !== undefined) logger.level = checkLevel(level, logger);
      return { level: logger.level, ...(level !== undefined && { before }) };
    },
  };
}

function checkLevel(level: unknown, { levels }: LevelledLogger): string {
  const known = levels && [...Object.keys(levels.values), 'silent'];
  if (typeof level === 'string' && level !== '' && (known?.includes(level) ?? true)) return level;
  throw new CallRefusal('INVALID_PARAMS', `level: must be one of ${known?.join(', ') ?? 'the levels of the logger'}`, { param: 'level' });
}
