import { setTimeout as after } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { createClock, type SandboxClock } from "../../sandbox/clock.ts";

/** Time that skips, and time that stands still. */

let clock: SandboxClock;
afterEach(() => clock.stop());

/** A clock on which something happens at 1 s, 2 s and 3 s. */
function withEvents(speed: number): number[] {
  clock = createClock({ speed, start: new Date(0) });
  const happened: number[] = [];
  const hold = clock.holdWhen(() => true);
  clock.now();
  for (const second of [1, 2, 3]) clock.after(second * 1000, () => happened.push(clock.now()));
  hold.release();
  return happened;
}

test("a skip runs the next event, at its own time, but goes no further than its limit", () => {
  const happened = withEvents(0);
  expect(clock.skip(400)).toBe(true);
  expect([happened, clock.now()]).toEqual([[], 400]);
  expect(clock.skip(60_000)).toBe(true);
  expect([happened, clock.now()]).toEqual([[1000], 1000]);
  clock.skip(60_000);
  clock.skip(60_000);
  expect(clock.skip(60_000)).toBe(false);
  expect([happened, clock.now()]).toEqual([[1000, 2000, 3000], 3000]);
});

test("a running clock goes on from where a skip leaves it", async () => {
  const happened = withEvents(0.001);
  clock.skip(60_000);
  await after(5);
  expect(happened).toEqual([1000]);
  expect(clock.now()).toBeGreaterThan(1000);
  expect(clock.now()).toBeLessThan(2000);
});

test.each([1_000_000, 0])(
  "time at speed %d stands still at the very event that a hold names, until it is released",
  async (speed) => {
    const happened = withEvents(speed);
    const hold = clock.holdWhen(() => happened.length === 2);
    if (speed === 0) clock.advance(10_000);
    while (!hold.isReached()) await after(1);
    await after(5);
    expect([happened, clock.now(), clock.skip(60_000)]).toEqual([[1000, 2000], 2000, false]);
    expect(() => clock.holdWhen(() => true)).toThrow("another hold is set");
    hold.release();
    expect(hold.isReached()).toBe(false);
    if (speed === 0) clock.advance(10_000);
    while (happened.length < 3) await after(1);
    expect(happened).toEqual([1000, 2000, 3000]);
  },
);

test("what no event brings holds time when somebody asks; a hold that is released before is forgotten", () => {
  withEvents(0);
  let isSo = false;
  const hold = clock.holdWhen(() => isSo && clock.now() >= 0);
  clock.skip(60_000);
  expect(hold.isReached()).toBe(false);
  isSo = true;
  expect(hold.isReached()).toBe(true);
  hold.release();
  clock.holdWhen(() => false).release();
  expect(clock.skip(60_000)).toBe(true);
});
