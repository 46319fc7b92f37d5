import { onTestFinished, TestRunner } from 'vitest';

type Cleanup = () => unknown;

const ofFile: Cleanup[] = [];

/**
 * Does something when the present test ends, however it ends, or, outside of a test (in `beforeAll`), when its file does.
 * The last one registered goes first. Not for `test.concurrent`, where nobody knows which test is the present one.
 */
export function onCleanup(cleanup: Cleanup): void {
  if (TestRunner.getCurrentTest() === undefined) ofFile.push(cleanup);
  else onTestFinished(async () => void (await cleanup()));
}

/** Called once per file by setup.ts. One that fails does not keep the others from their turn. */
export async function cleanUpFile(): Promise<void> {
  const errors: unknown[] = [];
  for (const cleanup of ofFile.splice(0).reverse()) {
    try {
      await cleanup();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, 'not everything that the file started could be ended');
}
