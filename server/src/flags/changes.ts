import type { FlagSet } from './flag-set.js';

/** The keys of flags that have changed, again and again, until the signal. A reader that is slow gets those of several changes at once. */
export async function* changesOf(set: FlagSet, signal: AbortSignal): AsyncGenerator<string[]> {
  const changed = new Set<string>();
  let wake = () => {};
  const onChanged = (keys: string[]) => {
    for (const key of keys) changed.add(key);
    wake();
  };
  const onAbort = () => wake();
  set.events.on('changed', onChanged);
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      const keys = [...changed];
      changed.clear();
      if (keys.length > 0) yield keys;
      if (changed.size > 0 || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    set.events.off('changed', onChanged);
  }
}
