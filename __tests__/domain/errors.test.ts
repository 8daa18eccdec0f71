import { describe, expect, test } from "vitest";
import { hasCode, InvalidInputError, KilnError, RemoteError } from "../../src/domain/errors.ts";

describe("an error for the person on call", () => {
  test("keeps what happened, the state, the next step and the cause apart", () => {
    const cause = new Error("socket hang up");
    expect(
      new KilnError("It failed", { state: "Nothing was changed.", next: "Try again.", cause }),
    ).toMatchObject({
      name: "KilnError",
      message: "It failed",
      state: "Nothing was changed.",
      next: "Try again.",
      cause,
    });
  });

  test("without a cause has none", () => {
    expect("cause" in new KilnError("It failed")).toBe(false);
  });
});

test("bad input is one error with a line for each problem", () => {
  const error = new InvalidInputError([
    { where: "input region", message: "is missing" },
    { where: "kiln.yml:3:1", message: "unknown key" },
  ]);
  expect(error.message).toBe("input region: is missing\nkiln.yml:3:1: unknown key");
  expect(error.state).toBe("Nothing was changed.");
});

test.each<[error: unknown, has: boolean]>([
  [new RemoteError("no", { code: "AccessDenied" }), true],
  [new RemoteError("no", { code: "Throttling" }), true],
  [new RemoteError("no", { code: "Other" }), false],
  [new KilnError("AccessDenied"), false],
  [Object.assign(new Error("no"), { code: "AccessDenied" }), false],
  [undefined, false],
])("only what AWS or GitHub answered has their codes: %s", (error, has) => {
  expect(hasCode(error, "AccessDenied", "Throttling")).toBe(has);
});
