import { expect, test } from "vitest";
import { World } from "./world.ts";

/** Each request, and whose it is, of two deploys of two images. */
async function requests(seed: number): Promise<readonly string[]> {
  const world = await World.open(seed);
  world.addEnvironment("production", world.addImage("a"));
  for (const content of ["b", "c"]) world.addImage(content);
  const told: string[] = [];
  const watch = world.interleaving.onRequest;
  world.interleaving.onRequest = (strand, request) => {
    told.push(`${strand.name}: ${request.name}`);
    watch(strand, request);
  };
  await world.play(Promise.all(["b", "c"].map((content) => world.begin({ command: "deploy", content }))));
  return told;
}

test("the same seed gives the same order of requests, another one another", async () => {
  const [first, second] = [await requests(1), await requests(1)];
  expect(first.length).toBeGreaterThan(50);
  expect(second).toEqual(first);
  // By chance, with runs that stand still, and one run ahead of the other.
  const orders = new Set<string>();
  for (const seed of [1, 2, 3]) orders.add((await requests(seed)).join("\n"));
  expect(orders.size).toBe(3);
});
