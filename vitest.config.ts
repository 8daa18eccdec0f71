import { configDefaults, defineConfig } from "vitest/config";

/** Pure functions and simulations without processes: they share workers. Nothing in them may change a module's state. */
const PURE = [
  "__tests__/{config,domain,image,release,rollout}/**/*.test.ts",
  "__tests__/sandbox/{autoscaling,ec2}-*.test.ts",
];

export default defineConfig({
  test: {
    // Only a defect takes so long; a busy machine takes a multiple of an idle one's time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // One more than the cores that tests are made for: who waits for a process leaves its core to another.
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: "pure", include: PURE, isolate: false } },
      {
        extends: true,
        test: {
          name: "processes",
          include: ["__tests__/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...PURE],
        },
      },
    ],
  },
});
