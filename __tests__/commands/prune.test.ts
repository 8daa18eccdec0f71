import { describe, expect, test } from "vitest";
import { CancelledError, KilnError } from "../../src/domain/errors.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { DAY } from "../image/stored-images.ts";
import { AWAY, fates, PruneStage } from "./prune-stage.ts";

/** A group on one image; `old` was released once, and is needed no more. */
async function withOldImage() {
  const stage = await PruneStage.open();
  const old = stage.image("web-old", 60);
  const now = stage.image("web-now", 30);
  const newest = stage.image("web-newest", 20);
  stage.environment("dev", now);
  stage.record("dev", 1, { "eu-west-1": now });
  return { stage, old, now, newest };
}

describe("an image that nothing needs", () => {
  test("is deprecated, then deregistered with its snapshot when its time of grace is over", async () => {
    const { stage, old, now, newest } = await withOldImage();
    await using _ = stage;
    const first = await stage.prune();
    expect(first.error).toBeUndefined();
    expect(fates(first)).toEqual([`${now} protected`, `${old} deprecated`]);
    expect(first.facts).toMatchObject({ outcome: "succeeded", prune: { kept: 2, gigabytes: 0 } });
    expect(stage.deprecated()).toEqual([old]);
    expect(stage.protectedOnes()).toEqual([now]);

    const second = await stage.prune();
    expect(second.writes).toEqual([]);
    expect(second.facts.outcome).toBe("unchanged");
    expect(fates(second)).toEqual([`${old} waiting`]);

    stage.pass(13.9);
    expect((await stage.prune()).writes).toEqual([]);
    stage.pass(0.2);
    const snapshots = stage.sandbox.ec2.snapshots(HOME).length;
    const last = await stage.prune();
    expect(last.error).toBeUndefined();
    expect(last.writes).toEqual(["DeregisterImage"]);
    expect(last.facts.prune).toMatchObject({
      gigabytes: 8,
      images: [{ imageId: old, action: "deregistered", gigabytes: 8, days: 74, region: "eu-west-1" }],
    });
    expect(stage.left()).toEqual([now, newest]);
    expect(stage.sandbox.ec2.snapshots(HOME)).toHaveLength(snapshots - 1);

    const end = await stage.prune();
    expect(end.writes).toEqual([]);
    expect(end.facts).toMatchObject({ outcome: "unchanged", prune: { images: [], kept: 2 } });
  });

  test("is only shown in a dry run", async () => {
    const { stage, old, now } = await withOldImage();
    await using _ = stage;
    const planned = await stage.prune({ dryRun: true });
    expect(planned.error).toBeUndefined();
    expect(planned.writes).toEqual([]);
    expect(planned.facts.outcome).toBe("planned");
    expect(fates(planned)).toEqual([`${old} deprecated`, `${now} protected`]);
    expect(planned.log.join("\n")).toMatch(
      new RegExp(
        `\\| eu-west-1 \\| ${old} \\| web-old \\| 60 days \\| 8 GB +\\| to be deprecated +\\| nothing runs it`,
      ),
    );
    expect(stage.deprecated()).toEqual([]);
    await stage.prune();
    stage.pass(15);
    const later = await stage.prune({ dryRun: true });
    expect(later.writes).toEqual([]);
    expect(later.facts.prune?.gigabytes).toBe(8);
    expect(later.log).toContain("To go: snapshots of 8 GB. Dry run: nothing was changed");
    expect(stage.left()).toContain(old);
  });

  test("that is needed again gets its deprecation taken back", async () => {
    const { stage, old, now } = await withOldImage();
    await using _ = stage;
    await stage.prune();
    stage.pass(20);
    stage.record("dev", 2, { "eu-west-1": old });
    const again = await stage.prune();
    expect(fates(again).toSorted()).toEqual([`${old} protected`, `${old} restored`].toSorted());
    expect(stage.deprecated()).toEqual([]);
    expect(stage.protectedOnes()).toEqual([old, now]);
  });

  test("stays while anybody in the account has an instance of it, a stopped one too", async () => {
    const { stage, old, now: inUse } = await withOldImage();
    await using _ = stage;
    await stage.prune();
    stage.pass(20);
    const template = stage.sandbox.ec2.addLaunchTemplate(HOME, "by-hand", {
      ImageId: old,
      InstanceType: "t3.small",
    });
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: "by-hand",
      min: 0,
      max: 1,
      desired: 1,
      launchTemplate: { launchTemplateId: template.id, version: "1" },
    });
    const instance = stage.sandbox.ec2.instances(HOME).find(({ imageId }) => imageId === old);
    if (instance === undefined) throw new Error("no instance");
    instance.state = "stopped";
    expect(fates(await stage.prune())).toEqual([`${old} restored`]);
    stage.sandbox.autoScaling.setDesiredCapacity("by-hand", 0);
    // Only the ten newest versions of a template count as naming an image.
    for (let version = 2; version <= 11; version += 1)
      stage.sandbox.ec2.addLaunchTemplateVersion(template.id, { ImageId: inUse, InstanceType: "t3.small" });
    // AWS tells a launch a day later; it is seen for as long as a young image is.
    stage.pass(2);
    expect(fates(await stage.prune())).toEqual([]);
    stage.pass(6);
    expect(fates(await stage.prune())).toEqual([`${old} deprecated`]);
  });

  test("goes in every region of the targets, and nowhere else where one environment is asked for", async () => {
    const { stage, old } = await withOldImage();
    await using _ = stage;
    const copy = stage.image("web-old", 60, { place: AWAY });
    const away = stage.image("web-now", 30, { place: AWAY });
    stage.environment("production", away, {}, AWAY);
    stage.record("production", 1, { "us-east-1": away });
    const one = await stage.prune({ only: "production" });
    expect(fates(one)).toEqual([`${away} protected`, `${copy} deprecated`]);
    expect(stage.deprecated()).toEqual([]);
    await stage.prune();
    expect(stage.deprecated()).toEqual([old]);
    expect(stage.deprecated(AWAY)).toEqual([copy]);
  });
});

describe("what is kept", () => {
  test("the images of the last records of each environment, as many as the config says", async () => {
    await using stage = await PruneStage.open();
    const images = Array.from({ length: 6 }, (_, index) => stage.image(`web-${index}`, 60 - index));
    const [first, second, third, fourth, fifth, newest] = images as [`ami-${string}`, ...`ami-${string}`[]];
    stage.environment("dev", newest ?? first);
    stage.target("qa", { region: HOME.region, autoScalingGroup: "dev" });
    for (const [index, image] of [first, second, third, fourth].entries())
      stage.record("dev", index + 1, { "eu-west-1": image ?? first });
    stage.record("qa", 1, { "eu-west-1": fifth ?? first });
    const settings = { keep: 2, minAge: 7 * DAY, grace: 14 * DAY };
    const result = await stage.prune({ settings });
    expect(stage.deprecated()).toEqual([first, second]);
    expect(result.facts.prune?.images.find(({ imageId }) => imageId === first)?.why).toBe(
      "nothing runs it, and it is not among the last 2 releases of any environment",
    );
    expect(stage.protectedOnes()).toEqual([fourth, fifth]);
    await stage.prune({ settings: { ...settings, keep: 4 } });
    expect(stage.deprecated()).toEqual([]);
  });

  test("images of others, whatever their name and tags", async () => {
    const { stage, old } = await withOldImage();
    await using _ = stage;
    const foreign = [
      stage.image("web-a", 90, { tags: { "kiln:repository": "acme/other" } }),
      stage.image("web-b", 90, { tags: { "kiln:application": "api" } }),
      stage.image("web-c", 90, { tags: { "kiln:digest": "latest" } }),
      stage.image("web-d", 90, {
        place: { region: HOME.region, accountId: "222222222222" },
        launchPermissions: [{ userId: HOME.accountId }],
      }),
    ];
    await stage.prune();
    stage.pass(30);
    await stage.prune();
    expect(stage.left()).not.toContain(old);
    const there = stage.sandbox.ec2.images().filter(({ deregisteredAt }) => deregisteredAt === undefined);
    expect(there.map(({ id }) => id)).toEqual(expect.arrayContaining(foreign));
    expect(
      there.filter(({ id }) => foreign.includes(id as `ami-${string}`)).map((each) => each.deprecatedAt),
    ).toEqual(foreign.map(() => undefined));
  });

  test("what a launch template's versions name that somebody may launch next", async () => {
    const { stage, old, now } = await withOldImage();
    await using _ = stage;
    const template = stage.sandbox.ec2.launchTemplates(HOME).find(({ name }) => name === "dev")?.id ?? "";
    stage.sandbox.ec2.addLaunchTemplateVersion(template, { ImageId: old, InstanceType: "t3.small" });
    expect(fates(await stage.prune())).toEqual([`${now} protected`]);
    stage.sandbox.ec2.addLaunchTemplateVersion(template, { ImageId: now, InstanceType: "t3.small" });
    expect(fates(await stage.prune())).toEqual([]);
    const settings = { keep: 1, minAge: 7 * DAY, grace: 14 * DAY };
    expect(fates(await stage.prune({ settings }))).toEqual([`${old} deprecated`]);
  });
});

/** A group that has launched six images, one version of its template each, and the records of these releases. */
async function withHistory() {
  const stage = await PruneStage.open();
  const images = Array.from({ length: 6 }, (_, index) => stage.image(`web-${index}`, 60 - index));
  const [oldest = "ami-0" as const] = images;
  const template = stage.environment("dev", oldest);
  for (const image of images.slice(1))
    stage.sandbox.ec2.addLaunchTemplateVersion(template, { ImageId: image, InstanceType: "t3.small" });
  for (const [index, image] of images.entries()) stage.record("dev", index + 1, { "eu-west-1": image });
  const settings = { keep: 3, minAge: 7 * DAY, grace: 14 * DAY };
  return { stage, images, settings };
}

describe("forged records cannot make an image look like one that nobody needs", () => {
  test("without them the last three releases' images stay, and what the group launches", async () => {
    const { stage, images, settings } = await withHistory();
    await using _ = stage;
    await stage.prune({ settings });
    expect(stage.deprecated()).toEqual(images.slice(1, 3));
  });

  test.each([
    ["of an image that there is not", { images: { "eu-west-1": "ami-0123456789abcdef0" } }],
    ["of another content's digest", { imageDigest: `sha256:${"b".repeat(64)}` }],
    ["of another application", { application: "shop" }],
    ["of an old image of ours", {}],
  ] as const)("ten records %s", async (_what, changes) => {
    const { stage, images, settings } = await withHistory();
    await using _ = stage;
    const [, second = "ami-0" as const] = images;
    for (let number = 7; number <= 16; number += 1)
      stage.record("dev", number, { "eu-west-1": second }, changes);
    await stage.prune({ settings });
    expect(stage.deprecated().filter((id) => images.slice(3).includes(id as never))).toEqual([]);
  });

  test("a hundred tags that are none stop it: older records would not be known", async () => {
    const { stage, settings } = await withHistory();
    await using _ = stage;
    for (let tag = 0; tag < 99; tag += 1) stage.repository.push(`release/dev/v${tag}`, undefined, "c");
    const { error, writes } = await stage.prune({ settings });
    expect(error).toMatchObject({
      message:
        "Nothing was pruned. Among the last 100 tags of dev only 1 are records with an image, and 3 are kept",
    });
    expect(writes).toEqual([]);
  });
});

describe("what something else names", () => {
  test("stays: in a launch template that no target uses, in a parameter", async () => {
    const { stage, old, now: inUse } = await withOldImage();
    await using _ = stage;
    const inParameter = stage.image("web-in-a-parameter", 50);
    stage.sandbox.ec2.settings.ssmParameters["/web/ami"] = inParameter;
    const template = stage.sandbox.ec2.addLaunchTemplate(HOME, "batch", {
      ImageId: old,
      InstanceType: "t3.small",
    });
    expect(fates(await stage.prune()).filter((fate) => !fate.endsWith("protected"))).toEqual([]);
    // AWS looks at the ten newest versions of a template.
    for (let version = 2; version <= 11; version += 1)
      stage.sandbox.ec2.addLaunchTemplateVersion(template.id, { ImageId: inUse, InstanceType: "t3.small" });
    delete stage.sandbox.ec2.settings.ssmParameters["/web/ami"];
    expect(fates(await stage.prune())).toEqual([`${old} deprecated`, `${inParameter} deprecated`]);
  });

  test("is restored once it is named again, also in the time of grace", async () => {
    const { stage, old } = await withOldImage();
    await using _ = stage;
    await stage.prune();
    stage.sandbox.ec2.settings.ssmParameters["/web/ami"] = old;
    stage.pass(30);
    expect(fates(await stage.prune())).toEqual([`${old} restored`]);
  });

  test("cannot be looked up: nothing is deregistered", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    stage.sandbox.faults.inject({ action: "DescribeImageReferences" }, denied, { times: Infinity });
    const { error, writes, log } = await stage.prune();
    expect(error).toBeUndefined();
    expect(writes).toEqual([]);
    expect(stage.left()).toEqual(expect.arrayContaining([first, second]));
    expect(log.join("\n")).toContain("what names the images could not be looked up");
  });

  test("cannot be looked up any more right before an image goes: it stays", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    stage.sandbox.faults.inject({ action: "DescribeImageReferences" }, denied, { skip: 1, times: Infinity });
    expect((await stage.prune()).writes).toEqual([]);
    expect(stage.left()).toEqual(expect.arrayContaining([first, second]));
  });
});

describe("how old an image is", () => {
  test.each([-400, 400])("is told by AWS's clock, though the runner's is off by %i days", async (days) => {
    const { stage, old } = await withOldImage();
    await using _ = stage;
    const young = stage.image("web-young", 3);
    stage.image("web-younger", 1);
    stage.runnerAhead = days * DAY;
    await stage.prune();
    expect(stage.deprecated()).not.toContain(young);
    expect(stage.deprecated()).toContain(old);
    stage.pass(13);
    expect(fates(await stage.prune())).toContain(`${old} waiting`);
    stage.pass(2);
    expect(fates(await stage.prune())).toContain(`${old} deregistered`);
  });
});

describe("what another account uses", () => {
  const OTHER = { region: HOME.region, accountId: "222222222222" };
  const shared = { launchPermissions: [{ userId: OTHER.accountId }] };

  test("stays: what its group runs, what somebody launched there by hand", async () => {
    await using stage = await PruneStage.open();
    const old = stage.image("web-old", 90, shared);
    const byHand = stage.image("web-by-hand", 80, shared);
    const running = stage.image("web-running", 70, shared);
    stage.image("web-newest", 20);
    stage.environment("production", running, {}, OTHER);
    const template = stage.sandbox.ec2.addLaunchTemplate(OTHER, "by-hand", {
      ImageId: byHand,
      InstanceType: "t3.small",
    });
    stage.sandbox.autoScaling.addGroup({
      ...OTHER,
      name: "by-hand",
      min: 0,
      max: 1,
      desired: 1,
      launchTemplate: { launchTemplateId: template.id, version: "1" },
    });
    expect(fates(await stage.prune())).toEqual([`${old} deprecated`]);
  });

  test("cannot be pruned where its role lets nobody in", async () => {
    await using stage = await PruneStage.open();
    const running = stage.image("web-running", 70, shared);
    stage.image("web-newest", 20);
    stage.environment("production", running, {}, OTHER);
    stage.sandbox.closedRoles.add("arn:aws:iam::222222222222:role/deployer");
    const { error, writes } = await stage.prune();
    expect(writes).toEqual([]);
    expect(error).toMatchObject({
      message: "Nothing was pruned. What a target needs could not be found out",
    });
  });
});

describe("nothing is pruned where something cannot be read", () => {
  test.each([
    ["a group", "DescribeAutoScalingGroups"],
    ["a template's versions", "DescribeLaunchTemplateVersions"],
    ["the instances", "DescribeInstances"],
    ["the images", "DescribeImages"],
    ["the account", "GetCallerIdentity"],
  ])("%s", async (_, action) => {
    const { stage } = await withOldImage();
    await using _stage = stage;
    stage.sandbox.faults.inject({ action }, denied, { times: Infinity });
    const { error, writes, facts } = await stage.prune();
    expect(writes).toEqual([]);
    expect(error).toBeInstanceOf(KilnError);
    expect(facts.outcome).toBeUndefined();
  });

  test("the records", async () => {
    const { stage } = await withOldImage();
    await using _ = stage;
    stage.repository.newestTags = () => Promise.reject(new KilnError("GitHub is down", { next: "Wait." }));
    const { error, writes } = await stage.prune();
    expect(writes).toEqual([]);
    expect(error).toMatchObject({
      message: "Nothing was pruned: the records could not be read",
      state: "GitHub is down",
      next: "Wait.",
    });
  });

  test("a target that is gone, and all such targets are named", async () => {
    const { stage } = await withOldImage();
    await using _ = stage;
    for (const name of ["qa", "production"])
      stage.target(name, { region: HOME.region, autoScalingGroup: `web-${name}` });
    const { error, writes } = await stage.prune();
    expect(writes).toEqual([]);
    expect(error).toMatchObject({
      message: "Nothing was pruned. What some targets need could not be found out",
      state:
        "eu-west-1/web-qa: There is no Auto Scaling group web-qa in eu-west-1\neu-west-1/web-production: There is no Auto Scaling group web-production in eu-west-1",
    });
  });

  test("a record of a newer version", async () => {
    const { stage, now } = await withOldImage();
    await using _ = stage;
    stage.repository.push("release/dev/000002", "Release\n\nKiln-Record: 2\nImage: eu-west-1 ami-1\n", "c");
    const { error, writes } = await stage.prune();
    expect(writes).toEqual([]);
    expect(error).toMatchObject({
      message:
        "Nothing was pruned: this version of Kiln cannot read the newest record of an environment: release/dev/000002",
    });
    stage.record("dev", 3, { "eu-west-1": now });
    expect((await stage.prune()).error).toBeUndefined();
  });

  test("but tags that are no record of any version are not in the way", async () => {
    const { stage } = await withOldImage();
    await using _ = stage;
    for (const name of ["000002", "999999", "999999999999999", "next"])
      stage.repository.push(`release/dev/${name}`, undefined, "c");
    expect((await stage.prune()).error).toBeUndefined();
  });
});

const denied = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" } as const;

/** Two images whose time of grace is over. */
async function withTwoToGo() {
  const stage = await PruneStage.open();
  const first = stage.image("web-first", 90);
  const second = stage.image("web-second", 80);
  const now = stage.image("web-now", 30);
  stage.environment("dev", now);
  stage.record("dev", 1, { "eu-west-1": now });
  await stage.prune();
  stage.pass(15);
  return { stage, first, second, now };
}

describe("right before a deregistration", () => {
  test("a release that was recorded meanwhile stops it", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    const read = stage.repository.newestTags.bind(stage.repository);
    let times = 0;
    stage.repository.newestTags = async (prefixes, count) => {
      times += 1;
      if (times === 2) stage.record("dev", 2, { "eu-west-1": first });
      return read(prefixes, count);
    };
    const { error, writes, log, facts } = await stage.prune();
    expect(error).toBeUndefined();
    expect(writes).toEqual([]);
    expect(log).toContain(
      "warning: No image is deregistered any more in this run: dev got release 2 meanwhile. The next run looks again.",
    );
    expect(facts.prune?.images).toMatchObject([
      { imageId: first, action: "waiting", why: "left for the next run: dev got release 2 meanwhile" },
      { imageId: second, action: "waiting" },
    ]);
    expect(times).toBe(2);
    const next = await stage.prune();
    expect(fates(next).toSorted()).toEqual(
      [`${first} protected`, `${first} restored`, `${second} deregistered`].toSorted(),
    );
  });

  test("somebody's stray tags do not", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    stage.repository.push("release/dev/latest", undefined, "c");
    stage.repository.push("release/dev/old/000009", "Hello", "c");
    expect(fates(await stage.prune())).toEqual([`${first} deregistered`, `${second} deregistered`]);
  });

  test("a release that is under way stops it", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    stage.repository.refs.set("refs/kiln/lock/release/dev", "somebody");
    const held = await stage.prune();
    expect(held.writes).toEqual([]);
    expect(held.log.join("\n")).toContain(
      "a release to dev is under way: refs/kiln/lock/release/dev is held",
    );
    stage.repository.refs.delete("refs/kiln/lock/release/dev");
    expect(fates(await stage.prune())).toEqual([`${first} deregistered`, `${second} deregistered`]);
  });

  test.each<[what: string, change: (stage: PruneStage, image: string) => void]>([
    ["its tags", (stage, id) => void (imageOf(stage, id).tags = {})],
    ["its state", (stage, id) => stage.sandbox.ec2.setImageState(id, "disabled")],
    ["its deprecation", (stage, id) => void (imageOf(stage, id).deprecatedAt = undefined)],
    [
      "its instances",
      (stage, id) => {
        const [instance] = stage.sandbox.ec2.instances(HOME);
        Object.assign(instance ?? {}, { imageId: id });
      },
    ],
  ])("%s changed: it stays, and the others go", async (_, change) => {
    const { stage, first, second } = await withTwoToGo();
    await using _stage = stage;
    const { error, writes } = await stage.prune({ meanwhile: () => change(stage, first) });
    expect(error).toBeUndefined();
    expect(writes).toEqual(["DeregisterImage"]);
    expect(stage.left()).toContain(first);
    expect(stage.left()).not.toContain(second);
  });

  test("an image that is gone is nobody's failure", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    const { error, log } = await stage.prune({
      meanwhile: () => void (imageOf(stage, first).deregisteredAt = 0),
    });
    expect(error).toBeUndefined();
    expect(log).toContain(`notice: eu-west-1 ${first} (web-first) is gone already`);
    expect(stage.left()).not.toContain(second);
  });
});

function imageOf(stage: PruneStage, id: string) {
  const image = stage.sandbox.ec2.images().find((each) => each.id === id);
  if (image === undefined) throw new Error(`no image ${id}`);
  return image;
}

describe("what fails for one image", () => {
  test("does not stop the others, and the run is red", async () => {
    const { stage, first, second, now } = await withTwoToGo();
    await using _ = stage;
    stage.sandbox.faults.inject({ action: "DeregisterImage" }, denied);
    const third = stage.image("web-third", 50);
    const { error, facts } = await stage.prune();
    expect(error).toMatchObject({ message: "An image could not be pruned as planned" });
    expect((error as KilnError).state).toMatch(
      /^eu-west-1 ami-\w+ \(web-(?:first|second)\) is not deregistered: /,
    );
    expect(stage.left()).toHaveLength(3);
    expect(stage.left()).toEqual(expect.arrayContaining([now, third]));
    expect(stage.deprecated()).toContain(third);
    expect(facts.outcome).toBeUndefined();
    expect(facts.prune?.images.filter(({ failed }) => failed !== undefined)).toHaveLength(1);
    const again = await stage.prune();
    expect(again.error).toBeUndefined();
    for (const gone of [first, second]) expect(stage.left()).not.toContain(gone);
  });

  test("a snapshot that another image has too is left, and said", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    const [shared] = imageOf(stage, first).blockDevices;
    stage.image("somebody-else's", 1, {
      tags: { "kiln:application": "api" },
      blockDevices: shared ? [shared] : [],
    });
    const { error, log, facts } = await stage.prune();
    expect(error).toBeUndefined();
    expect(log).toContain(
      `warning: eu-west-1 ${first} (web-first) is deregistered, its snapshot ${shared?.snapshotId ?? "?"} is not deleted: another image has it too`,
    );
    expect(facts.prune).toMatchObject({
      gigabytes: 8,
      images: [
        { imageId: first, action: "deregistered", gigabytes: 0 },
        { imageId: second, action: "deregistered", gigabytes: 8 },
      ],
    });
  });

  test("a cancelled run stops before the next step", async () => {
    const { stage } = await withTwoToGo();
    await using _ = stage;
    const signal = AbortSignal.abort(new CancelledError("The run was cancelled"));
    const { error, writes } = await stage.prune({ signal });
    expect(error).toBeInstanceOf(CancelledError);
    expect(writes).toEqual([]);
  });
});

describe("protection from deregistration", () => {
  test("is taken off when the image is deprecated; its cooldown is over long before its time comes", async () => {
    const { stage, old, now } = await withOldImage();
    await using _ = stage;
    imageOf(stage, old).protection = "enabled-with-cooldown";
    const first = await stage.prune();
    expect(first.writes).toEqual([
      "EnableImageDeregistrationProtection",
      "DisableImageDeregistrationProtection",
      "EnableImageDeprecation",
    ]);
    stage.pass(15);
    expect(fates(await stage.prune())).toEqual([`${old} deregistered`]);
    expect(stage.protectedOnes()).toEqual([now]);
  });

  test("that somebody set meanwhile, with a cooldown, leaves it for the next run", async () => {
    const { stage, first, second } = await withTwoToGo();
    await using _ = stage;
    imageOf(stage, first).protection = "enabled-with-cooldown";
    const cooling = await stage.prune();
    expect(cooling.error).toBeUndefined();
    expect(fates(cooling).toSorted()).toEqual([`${first} waiting`, `${second} deregistered`].toSorted());
    expect(cooling.log.join("\n")).toContain("AWS keeps it up for 24 hours more: left for the next run");
    stage.pass(0.5);
    expect(fates(await stage.prune())).toEqual([`${first} waiting`]);
    stage.pass(0.6);
    expect(fates(await stage.prune())).toEqual([`${first} deregistered`]);
  });
});

test("the number of requests does not grow with the records and the images that are kept", async () => {
  const { stage } = await withOldImage();
  await using _ = stage;
  await stage.prune();
  const few = (await stage.prune()).requests.length;
  for (let number = 0; number < 40; number += 1) {
    const image = stage.image(`web-more-${number}`, 30);
    stage.record("dev", number + 2, { "eu-west-1": image });
  }
  const settings = { keep: 100, minAge: 7 * DAY, grace: 14 * DAY };
  await stage.prune({ settings });
  const many = await stage.prune({ settings });
  expect(many.requests.map(({ action }) => action)).toHaveLength(few);
  expect(many.facts.prune?.kept).toBe(42);
});
