import { type Profiler, Session } from 'node:inspector/promises';

/** Samples the stacks of this thread while `work` lasts. */
export async function profile(intervalUs: number, work: () => Promise<void>): Promise<Profiler.Profile> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: intervalUs });
    await session.post('Profiler.start');
    await work();
    return (await session.post('Profiler.stop')).profile;
  } finally {
    session.disconnect(); // which also ends what was begun
  }
}
