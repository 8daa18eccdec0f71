import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, parseDuration } from "../../src/domain/duration.ts";

describe("a duration that a person writes", () => {
  test.each([
    ["250ms", 250],
    ["10s", 10_000],
    ["10 s", 10_000],
    ["10sec", 10_000],
    ["60m", 3_600_000],
    ["60min", 3_600_000],
    ["1.5h", 5_400_000],
    ["30d", 2_592_000_000],
    ["0s", 0],
    [" 2h ", 7_200_000],
  ])("%j is %i ms", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test.each(["", "10", "s", "-1s", "1w", "1y", "1h30m", "10S", "1e3s", ".5h", "ten minutes", "10s\n5", "∞d"])(
    "%j is none",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  test("arbitrary text never throws", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        const parsed = parseDuration(text);
        expect(parsed === undefined || parsed >= 0).toBe(true);
      }),
    );
  });
});

test.each([
  [-5000, "0 s"],
  [0, "0 s"],
  [499, "0 s"],
  [12_000, "12 s"],
  [59_499, "59 s"],
  [59_500, "1 min"],
  [60_000, "1 min"],
  [185_000, "3 min 5 s"],
  [3_599_999, "1 h"],
  [7_200_000, "2 h"],
  [7_800_000, "2 h 10 min"],
  [47 * 3_600_000, "47 h"],
  [48 * 3_600_000, "2 days"],
  [43.9 * 86_400_000, "43 days"],
])("%i ms is %s", (milliseconds, text) => {
  expect(formatDuration(milliseconds)).toBe(text);
});
