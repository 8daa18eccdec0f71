import { expect, test } from "vitest";
import { Query } from "../../sandbox/aws/query.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { World } from "./world.ts";

/** What somebody else does in the middle of a run, each at a time of its own. */

const MINUTE = 60_000;

/** What somebody with the console does to the group of `production`. */
function call(world: World, action: string, parameters: Readonly<Record<string, string>>): void {
  world.aws.autoScaling.operations[action]?.({
    ...HOME,
    requestId: "console",
    query: new Query([["AutoScalingGroupName", "production"], ...Object.entries(parameters)]),
  });
}

const templateOf = (world: World) => {
  const template = world.aws.ec2.launchTemplates(HOME).find(({ name }) => name === "production");
  if (template === undefined) throw new Error("no template");
  return template;
};

/** The data of the newest version of its template. */
const newestVersion = (world: World) => world.aws.ec2.launchTemplateVersions(templateOf(world).id).at(-1);

test("a template version that the group gets during the bake is what the release is made from", async () => {
  const world = await World.open(1);
  const a = world.addImage("a");
  world.addEnvironment("production", a);
  const { id } = templateOf(world);
  world.aws.clock.after(2 * MINUTE, () => {
    world.aws.ec2.addLaunchTemplateVersion(id, { ImageId: a, InstanceType: "t3.large" });
    call(world, "UpdateAutoScalingGroup", {
      "LaunchTemplate.LaunchTemplateId": id,
      "LaunchTemplate.Version": "2",
    });
  });
  const deployed = await world.play(world.begin({ command: "deploy", content: "b" }));
  expect(deployed.error).toBeUndefined();
  expect(deployed.log.join("\n")).toContain("A target was changed while the image was baked: planning again");
  expect(newestVersion(world)).toMatchObject({ number: 3, data: { InstanceType: "t3.large" } });
  expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
});

test("a refresh that begins during the bake is waited for, and named with what it brings", async () => {
  const world = await World.open(1);
  const a = world.addImage("a");
  world.addEnvironment("production", a);
  const { id } = templateOf(world);
  world.aws.ec2.addLaunchTemplateVersion(id, { ImageId: a, InstanceType: "t3.large" }, "By hand");
  world.aws.clock.after(4 * MINUTE, () =>
    call(world, "StartInstanceRefresh", {
      "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": id,
      "DesiredConfiguration.LaunchTemplate.Version": "2",
    }),
  );
  const deployed = await world.play(world.begin({ command: "deploy", content: "b" }));
  expect(deployed.error).toBeUndefined();
  expect(deployed.log.join("\n")).toMatch(
    /waiting for another instance refresh to end: .*, brings version 2, "By hand"/,
  );
  expect(newestVersion(world)).toMatchObject({ number: 3, data: { InstanceType: "t3.large" } });
  expect(world.runsRecord("production")).toEqual([]);
});

test("refreshes of somebody else that follow one another are waited for until the timeout, all together", async () => {
  const world = await World.open(1);
  const a = world.addImage("a");
  world.addEnvironment("production", a);
  world.addImage("b");
  const { id } = templateOf(world);
  const next = (): void => {
    if (world.isRefreshing("production")) return;
    const { number } = world.aws.ec2.addLaunchTemplateVersion(id, { ImageId: a, InstanceType: "t3.small" });
    call(world, "StartInstanceRefresh", {
      "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": id,
      "DesiredConfiguration.LaunchTemplate.Version": String(number),
    });
  };
  const look = world.interleaving.afterStep;
  world.interleaving.afterStep = () => {
    look();
    next();
  };
  const job = { command: "deploy", content: "b", after: MINUTE, timeout: 20 * MINUTE } as const;
  const deployed = await world.play(world.begin(job));
  expect(deployed.error).toContain("Another instance refresh of eu-west-1/production is in the way");
  expect(deployed.ended - deployed.began).toBeLessThan(30 * MINUTE);
  expect(deployed.ended - deployed.began).toBeGreaterThan(15 * MINUTE);
});

test("a group that runs another repository's release: a warning, until it runs one of ours", async () => {
  const world = await World.open(1);
  world.addEnvironment("production", world.addImage("a"));
  world.nameEnvironment("production", "production", { repository: "acme/shop" });
  world.addImage("s", { repository: "acme/shop" });
  for (const content of ["b", "c"]) world.addImage(content);
  const deploy = (content: string, repository = "acme/web") =>
    world.play(world.begin({ command: "deploy", content, repository }));
  const warnings = ({ log }: Awaited<ReturnType<typeof deploy>>): string[] =>
    log.filter((line) => line.includes("this release overwrites that one"));
  expect(warnings(await deploy("s", "acme/shop"))).toEqual([]);
  const [warning, ...more] = warnings(await deploy("b"));
  expect(warning).toMatch(
    /warning: eu-west-1\/production: it runs ami-\w+, which acme\/shop released as application shop/,
  );
  expect(more).toEqual([]);
  expect(warnings(await deploy("c"))).toEqual([]);
});

test("a rollback does not stop another repository's refresh", async () => {
  const world = await World.open(1);
  const [a, b] = [world.addImage("a", { days: 3 }), world.addImage("b", { days: 2 })];
  world.addEnvironment("production", b);
  world.addRecord("production", 1, "a", a);
  world.addRecord("production", 2, "b", b);
  world.nameEnvironment("production", "production", { repository: "acme/shop" });
  world.addImage("s", { repository: "acme/shop" });
  const [shop, back] = await world.play(
    Promise.all([
      world.begin({ command: "deploy", content: "s", repository: "acme/shop" }),
      world.begin({ command: "rollback", after: 2 * MINUTE }),
    ]),
  );
  expect([shop.error, back.error]).toEqual([undefined, undefined]);
  expect(world.records("production", "acme/shop")).toHaveLength(1);
  expect(world.records("production").map(({ version }) => version)).toEqual(["a", "b", "a"]);
});

test("a release that was rolled out and not recorded is what `previous` goes back from", async () => {
  const world = await World.open(1);
  const [a, b, c] = ["a", "b", "c"].map((content, index) => world.addImage(content, { days: 9 - index }));
  if (a === undefined || b === undefined || c === undefined) throw new Error("no images");
  world.addEnvironment("production", c);
  world.addRecord("production", 1, "a", a);
  world.addRecord("production", 2, "b", b);
  const back = await world.play(world.begin({ command: "rollback" }));
  expect(back.error).toBeUndefined();
  expect(world.records("production").at(-1)).toMatchObject({
    kind: "rollback",
    version: "b",
    restores: "release/production/000002",
  });
  expect(world.runsRecord("production")).toEqual([]);
});

/** An environment that has released c and b, and an image of c that goes in the moment in which a run asks for the lock. */
async function withoutImage(): Promise<World> {
  const world = await World.open(1);
  const [c, b] = [world.addImage("c", { days: 9 }), world.addImage("b", { days: 2 })];
  world.addEnvironment("production", b);
  world.addRecord("production", 1, "c", c);
  world.addRecord("production", 2, "b", b);
  world.interleaving.onRequest = (_, { name, args }) => {
    if (name !== "createRef" || args[0] !== "refs/kiln/lock/release/production") return;
    for (const image of world.aws.ec2.images()) if (image.id === c) image.deregisteredAt = 0;
  };
  return world;
}

test("an image that goes before a deploy holds the lock is baked anew", async () => {
  const world = await withoutImage();
  const run = await world.play(world.begin({ command: "deploy", content: "c" }));
  expect(run.log.join("\n")).toContain("The image is gone: looking again");
  expect(run.error).toBeUndefined();
  expect(world.builds).toHaveLength(1);
  expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
});

test("an image that goes before a rollback holds the lock: nothing is changed", async () => {
  const world = await withoutImage();
  const run = await world.play(world.begin({ command: "rollback", to: "1" }));
  expect(run.log.join("\n")).toContain("The image is gone: looking again");
  expect(run.error).toMatch(/the image of release\/production\/000001, cannot be launched .* gone/);
  expect(world.aws.autoScaling.refreshes("production")).toEqual([]);
  expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
});
