import Ajv from "ajv/dist/2020.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { counts, isPacker, ourWrites, Stage } from "./stage.ts";
import type { JobResult } from "../../sandbox/runner.ts";
import type { LoggedRequest } from "../../sandbox/request-log.ts";

/** The main job on one sandbox, push after push, as a team would do it: each test goes on where the last one ended. */
describe("pushes to develop, stage and main", () => {
  let stage: Stage;
  let first: JobResult & { readonly requests: readonly LoggedRequest[] };
  const wholeAccount = (): string[] => stage.images();

  beforeAll(async () => {
    stage = await Stage.open();
  });

  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  });

  test("a dry run prints the plan and changes nothing", async () => {
    const result = await stage.push("develop", { inputs: { "dry-run": "true" } });
    expect(result.code).toBe(0);
    expect(result.outputs["outcome"]).toBe("planned");
    expect(result.log).toContain("bake web-");
    expect(result.log).toContain("record it as release/dev/000001");
    expect(result.log).toMatch(/the template is valid, says Packer \d/);
    expect(result.summary).toContain("Plan (dry run)");
    expect(result.summary).toContain("the template is valid");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("the first push to develop bakes an image with real Packer, rolls it out and records it", async () => {
    first = await stage.push("develop");
    expect(first.code, first.log).toBe(0);
    const [image] = wholeAccount();
    expect(first.outputs).toMatchObject({
      outcome: "succeeded",
      environment: "dev",
      release: "release/dev/000001",
      "release-number": "1",
      "image-id": image,
      images: JSON.stringify({ "eu-west-1": image }),
      baked: "true",
    });
    expect(wholeAccount()).toHaveLength(1);
    expect(stage.running("web-dev")).toEqual([image]);
    expect(stage.leftovers()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("the image and its snapshot carry the tags of the contract", async () => {
    const image = stage.sandbox.ec2.images().find((candidate) => candidate.id === first.outputs["image-id"]);
    const commit = await stage.copy.head();
    const expected = {
      "kiln:application": "web",
      "kiln:commit": commit,
      "kiln:branch": "develop",
      "kiln:version": commit.slice(0, 12),
      "kiln:digest": first.outputs["image-digest"],
      "kiln:repository": "acme/web",
      "kiln:run": expect.stringContaining("/acme/web/actions/runs/"),
      "kiln:base-image": image?.sourceImageId,
      Name: first.outputs["image-name"],
    };
    const digits = first.outputs["image-digest"]?.slice("sha256:".length, "sha256:".length + 12);
    expect(first.outputs["image-name"]).toBe(`web-${commit.slice(0, 12)}-${digits}`);
    expect(image?.tags).toMatchObject(expected);
    const ids = image?.blockDevices.map((device) => device.snapshotId) ?? [];
    const snapshots = stage.sandbox.ec2.snapshots().filter((snapshot) => ids.includes(snapshot.id));
    expect(snapshots).toHaveLength(1);
    expect(snapshots[0]?.tags).toMatchObject(expected);
  });

  test("the group was never updated: the new version came as the refresh's desired configuration, and AWS saved it", () => {
    const group = first.requests.filter((request) => request.service === "autoscaling" && request.writes);
    expect(group.map((request) => request.action)).toEqual(["StartInstanceRefresh"]);
    expect(group[0]?.params).toMatchObject({
      "DesiredConfiguration.LaunchTemplate.Version": "2",
      "Preferences.AutoRollback": "true",
      "Preferences.SkipMatching": "true",
      "Preferences.MinHealthyPercentage": "100",
      "Preferences.MaxHealthyPercentage": "200",
      "Preferences.ScaleInProtectedInstances": "Refresh",
      "Preferences.StandbyInstances": "Ignore",
    });
  });

  test("the lock was taken before anything was touched, and released after everything", () => {
    const writes = first.requests.filter((request) => request.writes).map((request) => request.action);
    expect(writes.slice(0, 2)).toEqual(["POST /repos/acme/web/git/tags", "POST /repos/acme/web/git/refs"]);
    // One request creates the record and deletes the lock.
    expect(writes.at(-1)).toBe("POST /graphql");
    expect(stage.locks()).toEqual([]);
  });

  test("the record is an annotated tag that plain git reads", async () => {
    const commit = await stage.copy.head();
    expect(stage.git("cat-file", "-t", "release/dev/000001")).toBe("tag");
    expect(stage.git("rev-parse", "release/dev/000001^{commit}")).toBe(commit);
    const trailers = stage.git(
      "for-each-ref",
      "--format=%(contents:trailers:only)",
      "refs/tags/release/dev/000001",
    );
    expect(trailers.split("\n").map((line) => line.split(":")[0])).toEqual([
      "Kiln-Record",
      "Application",
      "Environment",
      "Release",
      "Kind",
      "Commit",
      "Version",
      "Image",
      "Image-Name",
      "Image-Digest",
      "Image-Commit",
      "Base-Image",
      "Inventory",
      "Target",
      "Verified",
      "Smoke-Test",
      "Actor",
      "Run",
      "Started",
      "Finished",
    ]);
  });

  test("the result fits its published schema", () => {
    const schema: unknown = JSON.parse(
      readFileSync(join(import.meta.dirname, "../../schemas/result.schema.json"), "utf8"),
    );
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(schema as object);
    expect(validate(JSON.parse(first.outputs["result"] ?? "")), JSON.stringify(validate.errors)).toBe(true);
  });

  test("a push to stage releases the very image that develop ran, to other sizes", async () => {
    const result = await stage.push("stage");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({
      release: "release/qa/000001",
      baked: "false",
      "image-id": first.outputs["image-id"],
    });
    expect(result.log).toMatch(/reuse ami-\w+ .*baked .* ago from commit/);
    expect(result.requests.some(isPacker)).toBe(false);
    expect(stage.running("web-qa")).toEqual(Array.from({ length: 2 }, () => first.outputs["image-id"]));
    // As docs/requests.md says.
    expect(counts(result.requests).github).toBeLessThanOrEqual(10);
  });

  test("a push to main with another commit of the same content does too", async () => {
    await stage.commit("Explain more", { "NOTES.md": "Not part of the image.\n" });
    const result = await stage.push("main");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ release: "release/production/000001", baked: "false" });
    const types = stage.sandbox.autoScaling
      .group("web-production")
      .members.map((member) => member.instanceType);
    expect(new Set(types)).toEqual(new Set(["t3.2xlarge"]));
    expect(wholeAccount()).toHaveLength(1);
  });

  test("plain git says what the groups run", () => {
    const said = stage.git(
      "for-each-ref",
      "--format=%(refname:short) %(contents:trailers:key=Image,valueonly)",
      "refs/tags/release/**",
    );
    const lines = said.split("\n").filter((line) => line !== "");
    expect(lines).toEqual(
      (
        [
          ["dev", "web-dev"],
          ["production", "web-production"],
          ["qa", "web-qa"],
        ] as const
      ).map(([environment, group]) => `release/${environment}/000001 eu-west-1 ${stage.running(group)[0]}`),
    );
  });

  test("the same push again has nothing to do and writes nothing", async () => {
    const result = await stage.push("main");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ outcome: "unchanged", release: "release/production/000001" });
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
    expect(counts(result.requests)).toEqual({ aws: 4, github: 1 });
  });

  test("new content is a second release, on the commit that made it, with the first as its previous", async () => {
    await stage.commit("Greet", { "app/public/index.html": "<h1>Hello again</h1>\n" });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({
      release: "release/dev/000002",
      "previous-release": "release/dev/000001",
      baked: "true",
    });
    expect(stage.running("web-dev")).toEqual([result.outputs["image-id"]]);
    expect(wholeAccount()).toHaveLength(2);
    expect(
      stage.git(
        "for-each-ref",
        "--format=%(contents:trailers:key=Previous,valueonly)",
        "refs/tags/release/dev/000002",
      ),
    ).toBe("release/dev/000001");
  });

  test("going back to earlier content finds its image again, without a bake", async () => {
    await stage.copy.git("revert", "--no-edit", "HEAD");
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({
      release: "release/dev/000003",
      baked: "false",
      "image-id": first.outputs["image-id"],
    });
  });

  test("`rebake: always` bakes the same content under a further name", async () => {
    const result = await stage.push("develop", {
      inputs: { rebake: "always", version: await stage.copy.git("rev-parse", "--short=12", "HEAD~2") },
    });
    expect(result.code, result.log).toBe(0);
    expect(result.outputs["baked"]).toBe("true");
    expect(result.outputs["image-digest"]).toBe(first.outputs["image-digest"]);
  });

  test("a branch that no environment lists is skipped", async () => {
    const result = await stage.push("feature/x");
    expect(result.code).toBe(0);
    expect(result.outputs["outcome"]).toBe("skipped");
    expect(result.requests).toEqual([]);
  });

  test("a branch that several environments list serves them in the file's order; globs count", async () => {
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Release hotfixes everywhere", {
      ".github/kiln.yml": config
        .replace("[stage]", "[stage, 'hotfix/**']")
        .replace("[develop]", "[develop, 'hotfix/**']"),
    });
    const result = await stage.push("hotfix/urgent/one", { inputs: { version: "v1.0.1" } });
    expect(result.code, result.log).toBe(0);
    const order = [...result.log.matchAll(/Release web v1\.0\.1 to (\w+)/g)].map(([, name]) => name);
    expect(order).toEqual(["dev", "qa"]);
    expect(stage.records()).toContain("release/qa/000002");
  });

  test("workflow_dispatch names its environment", async () => {
    const result = await stage.run({
      event: "workflow_dispatch",
      ref: "refs/heads/main",
      inputs: { environment: "production" },
    });
    expect(result.code, result.log).toBe(0);
    expect(result.outputs["environment"]).toBe("production");
  });

  test("`bake` makes or finds the image and rolls nothing out", async () => {
    const before = stage.records();
    await stage.commit("Say goodbye", { "app/public/index.html": "<h1>Bye</h1>\n" });
    const baked = await stage.push("develop", { inputs: { command: "bake" } });
    expect(baked.code, baked.log).toBe(0);
    expect(baked.outputs).toMatchObject({ outcome: "succeeded", baked: "true" });
    // Besides the bake's lock and what git keeps of the image.
    const others = ourWrites(baked.requests).filter(
      (action) => !action.includes("/git/") && action !== "POST /graphql",
    );
    expect(others).toEqual(["CreateTags"]);
    expect(stage.records()).toEqual(before);
    const again = await stage.push("develop", { inputs: { command: "bake" } });
    expect(again.outputs).toMatchObject({ outcome: "unchanged", "image-id": baked.outputs["image-id"] });
  });
});

describe("one environment described in the step", () => {
  test("deploys without a config file", async () => {
    await using stage = await Stage.open();
    await stage.copy.git("rm", "--quiet", ".github/kiln.yml");
    await stage.copy.commit("No config file");
    const result = await stage.push("trunk", {
      inputs: {
        application: "shop",
        environment: "live",
        template: "packer/web.pkr.hcl",
        region: "eu-west-1",
        "auto-scaling-group": "web-dev",
        strategy: "all-at-once",
        vars: "nginx_version=1.25",
      },
    });
    expect(result.code, result.log).toBe(0);
    expect(stage.records()).toEqual(["release/live/000001"]);
    expect(result.outputs["image-name"]).toMatch(/^shop-/);
    expect(result.log).toContain("nginx=1.25.*");
    expect(stage.running("web-dev")).toEqual([result.outputs["image-id"]]);
  });
});
