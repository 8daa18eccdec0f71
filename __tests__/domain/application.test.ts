import { expect, test } from "vitest";
import { targetName } from "../../src/domain/application.ts";

test("a target is named by region and group", () => {
  expect(targetName({ region: "eu-west-1", autoScalingGroup: "web-production" })).toBe(
    "eu-west-1/web-production",
  );
});
