import { configDefaults, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes long, though its file is small: it begins first, so that no processor has nothing to do in the end. */
const LONG = /model\/engine-model|fault\/(chaos|clock|network|sentinel|redis-away|processes-chaos)|integration\/demo|locks\/crash/;

/** Files whose tests wait nearly all of their time, for a time to live or a fail-over: two of them leave most of two cores idle. */
const WAITING = [
  'test/fault/{clock,frozen-client,network,runs,sentinel}.test.ts',
  'test/integration/{redis-sentinel-login,server-half-open,events/presence,runs/starting}.test.ts',
  'test/integration/locks/{crash,lost-messages,redis-restart}.test.ts',
];
const WAITING_AT_ONCE = 3;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => Number(LONG.test(moduleId));
    const groupOf = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    return (await super.sort(files)).sort((a, b) => groupOf(a) - groupOf(b) || isLong(b) - isLong(a));
  }
}

export default defineConfig({
  test: {
    // Real processes and real time: more at once than there are cores would only make them wait for each other.
    pool: 'forks',
    maxWorkers: 2,
    // For machines that are busy: what a guarantee bounds in time is measured by its test.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    teardownTimeout: 20_000,
    sequence: { sequencer: LongFirst },
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup.ts'],
    // One after the other: the model takes all the processor there is, and many integration tests measure time.
    projects: [
      project(1, 'unit', ['test/unit/**/*.test.ts', 'test/bench/**/*.test.ts']),
      project(2, 'model', ['test/model/**/*.test.ts']),
      project(3, 'waiting', WAITING, { maxWorkers: WAITING_AT_ONCE }),
      project(4, 'integration', ['test/integration/**/*.test.ts', 'test/fault/**/*.test.ts'], {
        exclude: [...configDefaults.exclude, ...WAITING],
      }),
      project(5, 'browser', ['test/browser/**/*.test.ts']),
    ],
  },
});

function project(groupOrder: number, name: string, include: string[], more: { maxWorkers?: number; exclude?: string[] } = {}) {
  // CI's machines stand still now and then, which no test can tell from a fault: what fails there is tried once more, and shown as
  // such. Not so the random runs that check safety (`retry: 0`), nor whatever is repeatable: there once is enough to fail.
  const retry = process.env.CI !== undefined && groupOrder >= 3 ? 1 : 0;
  return { extends: true as const, test: { name, include, retry, sequence: { groupOrder }, ...more } };
}
