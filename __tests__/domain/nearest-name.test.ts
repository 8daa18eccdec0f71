import { expect, test } from "vitest";
import { nearestName } from "../../src/domain/nearest-name.ts";

test.each<[written: string, known: string[], nearest: string]>([
  ["prod", ["dev", "qa", "production"], "production"],
  ["Prod", ["dev", "qa", "production"], "production"],
  ["production-eu", ["dev", "production"], "production"],
  ["prodution", ["qa", "dev", "production"], "production"],
  ["stage", ["stage-us", "stage-eu-west", "state"], "stage-us"],
  ["qaa", ["dev", "qa"], "qa"],
  ["env", ["version", "environment", "vars"], "environment"],
  // Too short to be the beginning of anything.
  ["topic", ["to", "token", "tonic"], "tonic"],
  ["x", ["dev"], "dev"],
])("%s of %j: %s", (written, known, nearest) => {
  expect(nearestName(written, known)).toBe(nearest);
});
