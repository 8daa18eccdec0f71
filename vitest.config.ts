import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["__tests__/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Scenario tests start processes; two files at a time keep a two-core machine honest.
    maxWorkers: 2,
  },
});
