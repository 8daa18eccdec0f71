import { describe, expect, test } from "vitest";
import { NOT_FOUND, untilKnown, VISIBLE_WITHIN } from "../../src/aws/new-ids.ts";
import { RemoteError } from "../../src/domain/errors.ts";

const refused = (code: string): RemoteError => new RemoteError("no", { code });

/** Time that passes only while something waits. */
function timer() {
  let now = 0;
  const waits: number[] = [];
  const clock = {
    now: () => new Date(now),
    sleep: async (milliseconds: number, signal?: AbortSignal) => {
      signal?.throwIfAborted();
      waits.push(milliseconds);
      now += milliseconds;
    },
  };
  return { clock, waits, passed: () => now };
}

/** Fails so often, then says when it was answered. */
function failing(times: number, error: unknown) {
  let asked = 0;
  return async (): Promise<number> => {
    asked += 1;
    if (asked <= times) throw error;
    return asked;
  };
}

describe("a request for an id that was just made", () => {
  test.each(Object.entries(NOT_FOUND).flatMap(([kind, codes]) => codes.map((code) => [kind, code] as const)))(
    "is made again while AWS does not know the %s: %s",
    async (kind, code) => {
      const { clock, waits } = timer();
      const of = [kind as keyof typeof NOT_FOUND];
      expect(await untilKnown(failing(2, refused(code)), { clock, of })).toBe(3);
      expect(waits).toEqual([2000, 3000]);
    },
  );

  test("is given up after five minutes, with AWS's own answer", async () => {
    const { clock, passed } = timer();
    const error = refused("InvalidAMIID.NotFound");
    await expect(untilKnown(failing(1000, error), { clock, of: ["image"] })).rejects.toBe(error);
    expect(passed()).toBeGreaterThan(VISIBLE_WITHIN - 15_000);
    expect(passed()).toBeLessThanOrEqual(VISIBLE_WITHIN);
  });

  test.each([
    ["another kind's code", refused("InvalidSnapshot.NotFound")],
    ["a denial", refused("UnauthorizedOperation")],
    ["an error of ours", new Error("InvalidAMIID.NotFound")],
  ])("is not made again for %s", async (_, error) => {
    const { clock, waits } = timer();
    await expect(untilKnown(failing(1, error), { clock, of: ["image"] })).rejects.toBe(error);
    expect(waits).toEqual([]);
  });

  test("may be told by words", async () => {
    const { clock } = timer();
    const isNotYet = (error: unknown): boolean => error instanceof Error && error.message === "unseen";
    expect(await untilKnown(failing(1, new Error("unseen")), { clock, of: [], isNotYet })).toBe(2);
  });

  test("ends when the run is cancelled", async () => {
    const { clock } = timer();
    const signal = AbortSignal.abort(new Error("cancelled"));
    const request = failing(1, refused("InvalidAMIID.NotFound"));
    await expect(untilKnown(request, { clock, signal, of: ["image"] })).rejects.toThrow("cancelled");
  });
});
