import { describe, expect, test } from "vitest";
import { tryAll } from "./seeded.ts";
import { World } from "./world.ts";

/** `prune` and a release of the very image whose time has come. */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** An environment that runs `b`, and an image of `c` that is long deprecated: any prune deregisters it. */
async function withOldImage(seed: number): Promise<{ readonly world: World; readonly c: `ami-${string}` }> {
  const world = await World.open(seed);
  const c = world.addImage("c", { days: 200 });
  const b = world.addImage("b", { days: 20 });
  for (const image of world.aws.ec2.images())
    if (image.id === c) image.deprecatedAt = world.aws.clock.now() - 100 * DAY;
  world.addEnvironment("production", b);
  world.addRecord("production", 1, "c", c);
  world.addRecord("production", 2, "b", b);
  world.prune = { keep: 1, minAge: 7 * DAY, grace: 14 * DAY };
  return { world, c };
}

/**
 * Told afterwards: whether the image was deregistered although a run had begun, in the one window that AWS cannot close:
 * the run took its lock after prune's last look, and before that request took effect.
 */
function watchWindow(world: World): () => boolean {
  let lockedSince = false;
  let inWindow = false;
  const watch = world.interleaving.onRequest;
  world.interleaving.onRequest = (strand, request) => {
    const isLock = request.args[0] === "refs/kiln/lock/release/production";
    if (request.name === "readRef" && isLock && strand.name.startsWith("prune")) lockedSince = false;
    if (request.name === "createRef" && isLock) lockedSince = true;
    if (request.name === "DeregisterImageCommand") inWindow = lockedSince;
    watch(strand, request);
  };
  return () => inWindow;
}

/** A group that runs an image which is gone: only in the window, and then `status` says so. */
async function runsWhatIsGone(world: World, image: `ami-${string}`, inWindow: boolean): Promise<string[]> {
  if (world.isThere(image) || !world.running("production").includes(image)) return [];
  if (!inWindow) return ["it runs an image that is gone"];
  const { facts } = await world.play(world.begin({ command: "status" }));
  const drift = facts.status?.[0]?.drift.join() ?? "";
  return drift.includes("gone")
    ? []
    : [`it runs an image that is gone, and status says ${drift || "nothing"}`];
}

describe("a prune at the same time", () => {
  test(
    "and a deploy that uses the image again: it has it, or bakes it anew, at the latest when it is run again",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "a prune and a deploy of an old image",
          play: async (seed) => {
            const { world, c } = await withOldImage(seed);
            const inWindow = watchWindow(world);
            const jobs = [
              world.begin({ command: "prune", after: world.random() * 2000 }),
              world.begin({ command: "deploy", content: "c", after: world.random() * 2000 }),
            ];
            const [pruned, deployed] = await world.play(Promise.all(jobs));
            const wrong: string[] = [];
            if (pruned?.error !== undefined) wrong.push(`the prune failed: ${pruned.error}`);
            const kept = world.isThere(c);
            wrong.push(...(await runsWhatIsGone(world, c, inWindow())));
            if (deployed?.error === undefined) wrong.push(...world.runsRecord("production"));
            else {
              if (!inWindow()) wrong.push("the deploy failed, and not in the window");
              if (kept) wrong.push(`the deploy failed, and not for want of its image: ${deployed.error}`);
              if (world.records("production").length !== 2) wrong.push("it failed, and is recorded");
              const again = await world.play(world.begin({ command: "deploy", content: "c" }));
              if (again.error !== undefined) wrong.push(`the second run failed: ${again.error}`);
              wrong.push(...world.runsRecord("production"));
            }
            const what = world.builds.length > 0 ? "baked" : "reused";
            return world.played(wrong, [
              deployed?.error === undefined ? `${what}, image ${kept ? "kept" : "gone"}` : "run again",
            ]);
          },
        }),
      ).toEqual([]),
  );

  test(
    "and a rollback to the image: it restores it, or changes nothing and says that it is gone",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "a prune and a rollback to an old image",
          play: async (seed) => {
            const { world, c } = await withOldImage(seed);
            const inWindow = watchWindow(world);
            const jobs = [
              world.begin({ command: "prune", after: world.random() * 2000 }),
              world.begin({ command: "rollback", to: "1", after: world.random() * 2000 }),
            ];
            const [pruned, back] = await world.play(Promise.all(jobs));
            const wrong = world.runsRecord("production");
            if (pruned?.error !== undefined) wrong.push(`the prune failed: ${pruned.error}`);
            const restored = world.records("production").length === 3;
            if (restored !== (back?.error === undefined)) wrong.push("its end and its record differ");
            wrong.push(...(await runsWhatIsGone(world, c, inWindow())));
            if (!restored && world.isThere(c))
              wrong.push(`it failed, and the image is there: ${back?.error}`);
            return world.played(wrong, [
              restored ? "restored" : /is gone/.test(back?.error ?? "") ? "said it is gone" : "rolled back",
            ]);
          },
        }),
      ).toEqual([]),
  );

  test("as another: the image goes once, and neither is red", LONG, async () =>
    expect(
      await tryAll({
        name: "two prunes, one held after each of its requests",
        few: 20,
        play: async (seed) => {
          const { world, c } = await withOldImage(seed);
          const jobs = [0, 1].map(() => world.begin({ command: "prune", after: world.random() * 1000 }));
          world.holdAfter("prune 2", 1 + (seed % 20), MINUTE);
          const runs = await world.play(Promise.all(jobs));
          const wrong = runs.flatMap(({ error }) => error ?? []);
          if (world.isThere(c)) wrong.push("the image is still there");
          const gone = runs.filter(({ facts }) =>
            facts.prune?.images.some(({ imageId, action }) => imageId === c && action === "deregistered"),
          );
          if (gone.length !== 1) wrong.push(`${gone.length} say that they deregistered it`);
          return world.played(wrong, ["gone once"]);
        },
      }),
    ).toEqual([]),
  );
});
