import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Real processes and real time: more at once than there are cores would only make them wait for each other.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup.ts'],
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/model/**/*.test.ts', 'test/fault/**/*.test.ts'],
        },
      },
    ],
  },
});
