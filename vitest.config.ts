import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Real processes and real time: more at once than there are cores would only make them wait for each other.
    pool: 'forks',
    maxWorkers: 2,
    // For machines that are busy: what a guarantee bounds in time is measured by its test.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    teardownTimeout: 20_000,
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup.ts'],
    // One after the other: the model takes all the processor there is, and many integration tests measure time.
    projects: [
      project(1, 'unit', ['test/unit/**/*.test.ts', 'test/bench/**/*.test.ts']),
      project(2, 'model', ['test/model/**/*.test.ts']),
      project(3, 'integration', ['test/integration/**/*.test.ts', 'test/fault/**/*.test.ts']),
      project(4, 'browser', ['test/browser/**/*.test.ts']),
    ],
  },
});

function project(groupOrder: number, name: string, include: string[]) {
  return { extends: true as const, test: { name, include, sequence: { groupOrder } } };
}
