import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import type { FaultEffect, FaultMatch } from "../../sandbox/faults.ts";
import type { Job } from "../../sandbox/runner.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { processesOf } from "./machine.ts";
import { isPacker, Stage } from "./stage.ts";
import { OWN } from "./stories.ts";
import { until } from "./until.ts";

/** A bake that did not end well makes no image: what it left is removed or named, and never used. */

/** Variations of what others of these tests show: in the long form only (`npm run chaos -- cancelled`). */
const ALL = process.env["KILN_CHAOS"] === "all";

const AWAY = { region: "us-east-1", accountId: HOME.accountId };
const TEMPLATE = "packer/web.pkr.hcl";
const SILENT: FaultEffect = { kind: "silence-before" };
/** The first note after Packer's last request: that it ended with 0. */
const NOTE: FaultMatch = { service: "github", action: /^POST .*\/git\/tags$/, after: "DeleteKeyPair" };
const MARK: FaultMatch = { action: "CreateTags", ...OWN };

const own = (stage: Stage, place = HOME) =>
  stage.sandbox.ec2
    .images(place)
    .filter(({ ownerId, deregisteredAt }) => ownerId === HOME.accountId && deregisteredAt === undefined);

/** Those of them that have a name as Kiln gives it. */
const baked = (stage: Stage, place = HOME) =>
  own(stage, place).filter(({ name }) => /^web-[0-9a-f]{12}-[0-9a-f]{12}$/.test(name));

async function change(stage: Stage, edit: (template: string) => string, path = TEMPLATE): Promise<void> {
  const text = await stage.copy.read(path);
  const edited = edit(text);
  if (edited === text) throw new Error(`${path} was not changed`);
  await stage.commit("Change", { [path]: edited });
}

/** Nothing of the bake is there, and nothing was released. */
function expectNothing(stage: Stage, log: string): void {
  expect(stage.leftovers(), log).toEqual([]);
  expect(own(stage), log).toEqual([]);
  expect(
    stage.sandbox.ec2.snapshots().filter(({ ownerId }) => ownerId === HOME.accountId),
    log,
  ).toEqual([]);
  expect(stage.locks(), log).toEqual([]);
  expect(stage.records(), log).toEqual([]);
}

const manifestThenScan = (scan: string) => (template: string) =>
  template.replace(
    /\n\}\n$/,
    `

  post-processors {
    post-processor "manifest" {
      output = "/dev/null"
    }
    post-processor "shell-local" {
      inline = ["${scan}"]
    }
  }
}
`,
  );

describe("Packer ends with another code than 0 after it has made an image", () => {
  test("a scan after a manifest fails: Packer keeps the AMI, Kiln removes it, and the next run bakes anew", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await change(stage, manifestThenScan("exit 1"));
    for (const branch of ["develop", "develop", "stage"]) {
      const result = await stage.push(branch);
      expect(result.code, result.log).toBe(1);
      expect(result.outputs).toMatchObject({ outcome: "failed" });
      expect(
        result.requests.filter((request) => isPacker(request) && request.action === "CreateImage"),
      ).toHaveLength(1);
      expect(result.log).toMatch(/Removed what the bake left, with its snapshots: ami-\w+ in eu-west-1\./);
      expectNothing(stage, result.log);
    }
    await change(stage, (template) => template.replace('"exit 1"', '"exit 0"'));
    const fixed = await stage.push("develop");
    expect(fixed.code, fixed.log).toBe(0);
    expect(fixed.outputs["baked"]).toBe("true");
    expect(own(stage)).toHaveLength(1);
  });

  test("of two builds one fails: the other's image is removed too, and put on no group", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await change(stage, (template) =>
      template
        .replace(
          'build {\n  sources = ["source.amazon-ebs.web"]',
          `source "amazon-ebs" "worker" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "ubuntu"
  ssh_port      = var.ssh_port
  ami_name      = "\${var.image_name}-worker"
  tags          = var.image_tags

  source_ami_filter {
    owners      = ["099720109477"]
    most_recent = true
    filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*" }
  }
}

build {
  sources = ["source.amazon-ebs.web", "source.amazon-ebs.worker"]`,
        )
        .replace(
          /\n\}\n$/,
          `

  provisioner "shell" {
    only   = ["amazon-ebs.web"]
    inline = ["exit 1"]
  }
}
`,
        ),
    );
    for (const run of [1, 2]) {
      const result = await stage.push("develop", { runId: run });
      expect(result.code, result.log).toBe(1);
      expect(result.log).toMatch(/amazon-ebs\.worker: AMI: ami-\w+/);
      expect(result.log).toMatch(/Removed what the bake left, with its snapshots: ami-\w+ in eu-west-1\./);
      expectNothing(stage, result.log);
    }
  });

  test("and it cannot be removed: it is named, and never used", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await change(stage, manifestThenScan("exit 1"));
    const denied: FaultEffect = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" };
    stage.sandbox.faults.inject({ action: "DeregisterImage" }, denied, { times: 99 });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(1);
    expect(result.log).toContain("Not removed: the image: The role may not do ec2:DeregisterImage");
    expect(own(stage)).toHaveLength(1);
    stage.sandbox.faults.clear();
    // Its tags show whose it is: the next bake removes it first. The content is the same.
    const again = await stage.push("stage");
    expect(again.code, again.log).toBe(1);
    expect(again.log).toMatch(/remove ami-\w+ \(web-[\w-]+\): the bake that made it did not complete it/);
    expectNothing(stage, again.log);
  });
});

describe("images that no bake made", () => {
  /** The name that the next bake is to have. */
  async function nextName(stage: Stage): Promise<string> {
    const planned = await stage.push("develop", { inputs: { "dry-run": "true" } });
    return /bake (web-\S+) with Packer/.exec(planned.log)?.[1] ?? "";
  }

  test("one made by hand under a name like it, of an instance, untagged: neither used, nor removed, nor in the way", async () => {
    await using stage = await Stage.open({ speed: 240 });
    const name = await nextName(stage);
    const [instance] = stage.sandbox.ec2.instances(HOME);
    const byHand = stage.sandbox.ec2.addImage(HOME, {
      name: `${name}-debug-grace`,
      sourceInstanceId: instance?.id,
    });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ baked: "true", "image-name": name });
    expect(own(stage).map(({ id }) => id)).toEqual([byHand.id, result.outputs["image-id"]]);
    expect(byHand.tags).toEqual({});
  });

  const other = {
    "kiln:application": "web",
    "kiln:repository": "acme/web",
    "kiln:digest": `sha256:${"0".repeat(64)}`,
  };

  test.each([
    ["another account's public one", { ...HOME, accountId: "999999999999" }, [{ group: "all" }], {}],
    ["one made by hand, untagged", HOME, [], {}],
    ["the application's own, of other content", HOME, [], other],
  ])("%s under exactly its name: the bake takes the next one", async (_, place, launchPermissions, tags) => {
    await using stage = await Stage.open({ speed: 240 });
    const name = await nextName(stage);
    for (const taken of [name, `${name}-2`])
      stage.sandbox.ec2.addImage(place, { name: taken, launchPermissions, tags });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ baked: "true", "image-name": `${name}-3` });
  });

  test("a further name of another account's: the bake has its own", async () => {
    await using stage = await Stage.open({ speed: 240 });
    const name = await nextName(stage);
    const theirs = { ...HOME, accountId: "999999999999" };
    stage.sandbox.ec2.addImage(theirs, { name: `${name}-2`, launchPermissions: [{ group: "all" }] });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs["image-name"]).toBe(name);
  });

  test.runIf(ALL)(
    "the application's own disabled one, which AWS does not list: the bake takes the next name",
    async () => {
      await using stage = await Stage.open({ speed: 240 });
      const name = await nextName(stage);
      const hidden = stage.sandbox.ec2.addImage(HOME, { name });
      Object.assign(hidden, { state: "disabled" });
      const result = await stage.push("develop");
      expect(result.code, result.log).toBe(0);
      expect(result.outputs["image-name"]).toBe(`${name}-2`);
      expect(result.log).not.toContain("somebody else");
      expect(hidden.deregisteredAt).toBeUndefined();
    },
  );
});

/** Runs a job until it meets a fault, and then kills it: with its machine, or its process alone, so that the post step comes. */
async function killedAt(stage: Stage, at: FaultMatch, job: Partial<Job> = {}) {
  stage.sandbox.faults.inject(at, SILENT);
  let child: ChildProcess | undefined;
  const from = stage.sandbox.log.entries.length;
  const running = stage.run({ runId: 1, post: false, ...job, onStarted: (started) => (child = started) });
  await until("the request", () => {
    const seen = stage.sandbox.log.since(from);
    const after = at.after === undefined ? 0 : seen.findIndex(({ action }) => action === at.after);
    return (
      after !== -1 &&
      seen
        .slice(after)
        .some(
          (request) =>
            !isPacker(request) &&
            (at.region === undefined || at.region === request.region) &&
            (at.action instanceof RegExp ? at.action.test(request.action) : at.action === request.action),
        )
    );
  });
  if (job.post === true) child?.kill("SIGKILL");
  else for (const pid of processesOf(stage.folder)) process.kill(pid, "SIGKILL");
  return running;
}

const noTags = (template: string): string =>
  template.replace(", var.image_tags)", ")").replace("  snapshot_tags = var.image_tags\n", "");

describe("the machine dies after Packer has ended with 0", () => {
  test("before that is noted: the re-run removes the image and bakes anew, under its name", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    await killedAt(stage, NOTE);
    const [lost] = own(stage);
    expect(lost?.tags["kiln:digest"]).toBeUndefined();
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(again.log).toContain(`Removed the image ${lost?.id ?? "?"}`);
    expect(again.outputs).toMatchObject({ baked: "true", "image-name": lost?.name });
    expect(own(stage).map(({ id }) => id)).toEqual([again.outputs["image-id"]]);
    expect(stage.locks()).toEqual([]);
  });

  test.each([
    ["with image_tags", undefined],
    ["without image_tags", noTags],
  ])("before it is marked, %s: the re-run completes it, and does not bake", async (_, edit) => {
    await using stage = await Stage.open({ speed: 240 });
    if (edit !== undefined) await change(stage, edit);
    await stage.copy.push("develop");
    await killedAt(stage, MARK);
    const [image] = own(stage);
    expect(image?.tags["kiln:digest"]).toBeUndefined();
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(again.outputs).toMatchObject({ baked: "false", "image-id": image?.id });
    expect(again.requests.some(isPacker)).toBe(false);
    expect(image?.tags).toMatchObject({
      "kiln:application": "web",
      "kiln:repository": "acme/web",
      "kiln:digest": again.outputs["image-digest"],
      "kiln:commit": await stage.copy.head(),
      "kiln:branch": "develop",
      "kiln:run": expect.stringMatching(/\/acme\/web\/actions\/runs\/1$/),
      Name: image?.name,
    });
    expect(own(stage)).toHaveLength(1);
    expect(stage.locks()).toEqual([]);
  });

  test.runIf(ALL)("and so does the re-run's while it completes the image: the next one does", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    await killedAt(stage, MARK);
    await killedAt(stage, MARK, { attempt: 2 });
    const [image] = own(stage);
    const again = await stage.run({ runId: 1, attempt: 3 });
    expect(again.code, again.log).toBe(0);
    expect(again.outputs).toMatchObject({ baked: "false", "image-id": image?.id });
    expect(own(stage)).toHaveLength(1);
    expect(stage.locks()).toEqual([]);
  });

  test.runIf(ALL)("and so does the re-run's while it removes what was left: the next one does", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    await killedAt(stage, NOTE);
    await killedAt(stage, { action: "DeregisterImage", ...OWN }, { attempt: 2 });
    const [lost] = own(stage);
    const again = await stage.run({ runId: 1, attempt: 3 });
    expect(again.code, again.log).toBe(0);
    expect(lost?.deregisteredAt).toBeDefined();
    expect(again.outputs).toMatchObject({ baked: "true", "image-name": lost?.name });
    expect(own(stage)).toHaveLength(1);
    expect(stage.locks()).toEqual([]);
  });

  test("and AWS still makes the image: the re-run waits for it", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    await killedAt(stage, MARK);
    const [image] = own(stage);
    Object.assign(image ?? {}, { state: "pending" });
    let looks = 0;
    const from = stage.sandbox.log.entries.length;
    const watch = setInterval(() => {
      looks = stage.sandbox.log.since(from).filter(({ action }) => action === "DescribeImages").length;
      if (looks > 6) Object.assign(image ?? {}, { state: "available" });
    }, 10);
    const again = await stage.run({ runId: 1, attempt: 2 });
    clearInterval(watch);
    expect(again.code, again.log).toBe(0);
    expect(again.outputs).toMatchObject({ baked: "false", "image-id": image?.id });
    expect(own(stage)).toHaveLength(1);
  });

  test("and somebody removes the image: the re-run bakes anew", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    await killedAt(stage, MARK);
    const [image] = own(stage);
    Object.assign(image ?? {}, { state: "deregistered", deregisteredAt: stage.sandbox.clock.now() });
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(again.log).toContain("it is gone");
    expect(again.outputs).toMatchObject({ baked: "true", "image-name": image?.name });
    expect(stage.locks()).toEqual([]);
  });

  test.runIf(ALL)("and another content is baked first: its image waits for the re-run", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    const commit = await stage.copy.head();
    await killedAt(stage, MARK);
    const [image] = own(stage);
    await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
    const other = await stage.push("stage", { runId: 2 });
    expect(other.code, other.log).toBe(0);
    expect(own(stage)).toHaveLength(2);
    await stage.copy.git("checkout", "--quiet", commit);
    const again = await stage.run({ runId: 1, attempt: 2, commit });
    expect(again.code, again.log).toBe(0);
    expect(again.outputs).toMatchObject({ baked: "false", "image-id": image?.id });
    expect(stage.locks()).toEqual([]);
  });
});

describe("the run dies, and its post step comes", () => {
  test("before the image is marked: the post step completes it", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    const result = await killedAt(stage, MARK, { post: true });
    const [image] = own(stage);
    expect(result.log).toContain(`Completed ${image?.id ?? "?"}`);
    expect(image?.tags["kiln:digest"]).toMatch(/^sha256:/);
    expect(stage.locks()).toEqual([]);
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.outputs, again.log).toMatchObject({ baked: "false", "image-id": image?.id });
  });

  test("before the image is marked, and it cannot be: the post step removes it", async () => {
    await using stage = await Stage.open({ speed: 240 });
    await stage.copy.push("develop");
    const denied: FaultEffect = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" };
    stage.sandbox.faults.inject(MARK, denied, { skip: 1, times: 9 });
    const result = await killedAt(stage, MARK, { post: true });
    expect(result.log).toContain("Could not complete the image that Packer made");
    expectNothing(stage, result.log);
  });
});

describe("the mark", () => {
  test("cannot be written: the image is removed, and the run is red", async () => {
    await using stage = await Stage.open({ speed: 240 });
    const denied: FaultEffect = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" };
    stage.sandbox.faults.inject(MARK, denied, { times: 9 });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(1);
    expect(result.log).toContain("The role may not do ec2:CreateTags");
    expect(result.log).toMatch(/Removed what the bake left, with its snapshots: ami-\w+ in eu-west-1\./);
    expectNothing(stage, result.log);
  });

  test("is written again while EC2 does not know the new image everywhere", async () => {
    await using stage = await Stage.open({ speed: 240 });
    const unknown: FaultEffect = {
      kind: "reply",
      status: 400,
      code: "InvalidAMIID.NotFound",
      message: "The image id does not exist",
    };
    stage.sandbox.faults.inject(MARK, unknown, { times: 2 });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(own(stage)[0]?.tags["kiln:digest"]).toBe(result.outputs["image-digest"]);
  });

  test("is no tag that a template gets", async () => {
    await using stage = await Stage.open({ speed: 240 });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    const tagged = result.requests.filter(({ action }) => action === "CreateTags");
    const marked = tagged.filter(({ params }) => JSON.stringify(params).includes("kiln:digest"));
    expect(marked.map(isPacker)).toEqual([false]);
    expect(tagged.indexOf(marked[0] ?? tagged[0]!)).toBe(tagged.length - 1);
  });
});

describe("copies that Packer makes itself", () => {
  async function twoRegions(): Promise<Stage> {
    const stage = await Stage.open({ speed: 240 });
    addGroupOnTemplate(stage.sandbox, { ...AWAY, name: "web-away" });
    await change(
      stage,
      (config) =>
        config.replace(
          "targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]",
          "targets: [{ region: eu-west-1, auto-scaling-group: web-dev }, { region: us-east-1, auto-scaling-group: web-away }]",
        ),
      ".github/kiln.yml",
    );
    return stage;
  }
  const copying = (template: string): string =>
    noTags(template).replace("  ami_name ", '  ami_regions = ["us-east-1"]\n  ami_name ');

  test("are used and marked, also without image_tags, and by a re-run that only has the note", async () => {
    await using stage = await twoRegions();
    await change(stage, copying);
    await stage.copy.push("develop");
    await killedAt(stage, { ...MARK, region: HOME.region });
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    const [image, ...others] = own(stage);
    const [copy, ...more] = baked(stage, AWAY);
    expect([others, more]).toEqual([[], []]);
    expect(again.outputs["images"]).toBe(JSON.stringify({ "eu-west-1": image?.id, "us-east-1": copy?.id }));
    expect(copy?.tags).toMatchObject({
      "kiln:digest": image?.tags["kiln:digest"],
      "kiln:copy-of": image?.id,
      "kiln:application": "web",
      "kiln:repository": "acme/web",
    });
    expect(again.requests.filter((request) => !isPacker(request) && request.action === "CopyImage")).toEqual(
      [],
    );
    expect(new Set(stage.running("web-away"))).toEqual(new Set([copy?.id]));
  });

  test("go as well if the bake does not end well", async () => {
    await using stage = await twoRegions();
    await change(stage, (template) => manifestThenScan("exit 1")(copying(template)));
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(1);
    expect([baked(stage), baked(stage, AWAY)], result.log).toEqual([[], []]);
  });

  test("a copy that fails before anything was rolled out is no rollback", async () => {
    await using stage = await twoRegions();
    await stage.seedImage();
    stage.sandbox.faults.inject(
      { action: "CopyImage" },
      { kind: "reply", status: 400, code: "ResourceLimitExceeded", message: "no" },
      { times: 99 },
    );
    const before = [stage.running("web-dev"), stage.running("web-away")];
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(1);
    expect(result.outputs["outcome"], result.log).not.toBe("rolled-back");
    expect([stage.running("web-dev"), stage.running("web-away")]).toEqual(before);
  });
});

test("a lock that anybody wrote, of a run that has ended, removes nothing of another's", async () => {
  await using stage = await Stage.open({ speed: 240 });
  const { ec2 } = stage.sandbox;
  expect((await stage.push("nothing", { runId: 1 })).code).toBe(0);
  const hash = `0123456789ab${"0".repeat(52)}`;
  const key = "packer_6b018955-bda3-14d5-2626-19b67cd00e5a";
  const template = ec2.addImage(HOME, { name: "base" });
  const instance = ec2.fleet.launch(HOME, {
    imageId: template.id,
    instanceType: "t3.small",
    availabilityZone: "eu-west-1a",
    launchTemplate: undefined,
    tags: { Name: "Packer Builder" },
  });
  Object.assign(ec2.instances(HOME).find(({ id }) => id === instance) ?? {}, { keyName: key });
  const victims = ["web-v1-0123456789ab", "web-v1-0123456789ab-k01234567"].map((name) =>
    ec2.addImage(HOME, { name, sourceImageId: template.id, sourceImageRegion: HOME.region }),
  );
  victims.push(ec2.addImage(HOME, { name: "shop-v1-0123456789ab", sourceInstanceId: instance }));
  await stage.copy.git("fetch", "--quiet", "origin");
  for (const [index, notes] of [
    { region: "eu-west-1", imageName: "web-*-k*", instances: [instance], keyPairs: [key] },
    { region: "eu-west-1", imageName: "web-v1-0123456789ab", instances: [instance], keyPairs: [key] },
    {
      region: "eu-west-1",
      imageName: "shop-v1-0123456789ab",
      instances: [instance],
      keyPairs: [key],
      ended: { ids: { "eu-west-1": victims[2]?.id }, commit: "c".repeat(40), version: "v1" },
    },
  ].entries()) {
    const url = "https://github.com/acme/web/actions/runs/1";
    const message = `Lock\n\nRun-Id: 1\nAttempt: 1\nRun: ${url}\nActor: eve\nNotes: ${JSON.stringify({ ...notes, run: { id: "1", attempt: "1" } })}\n`;
    await stage.copy.git("tag", "-a", "-m", message, `forged-${index}`);
    const ref = `${hash.slice(0, -1)}${index}`;
    await stage.copy.git("push", "--quiet", "origin", `refs/tags/forged-${index}:refs/kiln/bake/${ref}`);
  }
  const result = await stage.push("develop", { runId: 2 });
  expect(result.code, result.log).toBe(0);
  expect(result.log).toContain("Looking for what the bake of web-v1-0123456789ab");
  expect(victims.map(({ deregisteredAt }) => deregisteredAt)).toEqual([undefined, undefined, undefined]);
  expect(ec2.instances(HOME).find(({ id }) => id === instance)?.state).toBe("running");
});
