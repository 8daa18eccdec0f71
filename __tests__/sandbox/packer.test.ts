import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createEc2World, type Ec2World } from "../../sandbox/aws/ec2/world.ts";
import { packerEnvironment, startAwsProxy, type AwsProxy } from "../../sandbox/aws/proxy.ts";
import { createAwsHandler } from "../../sandbox/aws/server.ts";
import { createSshHost, type SshHost } from "../../sandbox/aws/ssh.ts";
import { createClock, type SandboxClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { skippingEc2 } from "../../sandbox/skipping.ts";

/** Real Packer against the sandbox: its API calls through the proxy, its provisioners over SSH. */

const place = { region: "eu-west-1", accountId: "111111111111" };
const templates = join(import.meta.dirname, "../fixtures/templates");
const example = join(import.meta.dirname, "../../examples/web");

let folder: string;
let clock: SandboxClock;
let host: SshHost;
let world: Ec2World;
let proxy: AwsProxy;
const log = new RequestLog();
const started: ChildProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kiln-packer-"));
  clock = createClock({ speed: 20 });
  host = await createSshHost({ folder });
  world = createEc2World({ clock, host });
  world.addBaseImage({ name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101" });
  const handle = createAwsHandler({
    clock,
    log,
    faults: new Faults(),
    services: { ec2: skippingEc2(clock, world) },
    accounts: { AKIASANDBOX: { accountId: place.accountId } },
  });
  proxy = await startAwsProxy({ handle, folder });
});

afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

afterAll(async () => {
  await proxy.close();
  await host.close();
  clock.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Bake {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function bake(
  template: string,
  variables: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): Bake {
  const child = spawn("packer", ["build", "-color=false", ...flags, template], {
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      AWS_ACCESS_KEY_ID: "AKIASANDBOX",
      AWS_SECRET_ACCESS_KEY: "secret",
      ...packerEnvironment(proxy),
      ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [`PKR_VAR_${name}`, value])),
      PKR_VAR_ssh_port: String(host.port),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  started.push(child);
  let output = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (output += data.toString()));
  const ended = once(child, "close").then(([code]: unknown[]) => (typeof code === "number" ? code : null));
  return { child, output: () => output, ended };
}

/** A failed bake's own words are what one needs to see. */
async function success({ ended, output }: Pick<Bake, "ended" | "output">): Promise<void> {
  const code = await ended;
  if (code !== 0) throw new Error(`Packer ended with ${code}:\n${output()}`);
}

function imageNamed(name: string) {
  return world.images(place).find((image) => image.name === name);
}

/** What costs money or clutters the account after a bake. */
function leftovers(): string[] {
  return [
    ...world.keyPairs(place).map(({ id }) => id),
    ...world.securityGroups(place).flatMap((group) => (group.name === "default" ? [] : [group.id])),
    ...world.volumes(place).map(({ id }) => id),
    ...world.launchTemplates(place).map(({ id }) => id),
    ...world.instances(place).flatMap(({ id, state }) => (state === "terminated" ? [] : [`${id} ${state}`])),
  ];
}

function hasPacker(): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((each) => {
    try {
      accessSync(join(each, "packer"), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

describe.skipIf(!hasPacker())("Packer", () => {
  test("bakes the example application", async () => {
    const mark = log.entries.length;
    const tags = { "kiln:application": "web", "kiln:commit": "0123456789ab", Name: "web-1.0" };
    const inventory = join(folder, "inventory.txt");
    const { ended, output } = bake(join(example, "packer/web.pkr.hcl"), {
      image_name: "web-1.0-abcdefabcdef",
      image_version: "1.0",
      commit: "0123456789ab",
      image_tags: JSON.stringify(tags),
      inventory_file: inventory,
    });
    await success({ ended, output });

    const image = imageNamed("web-1.0-abcdefabcdef");
    expect(image).toMatchObject({ state: "available", tags: { ...tags, nginx: "1.24" } });
    expect(output()).toContain(`eu-west-1: ${image?.id}`);
    const snapshotId = image?.blockDevices[0]?.snapshotId;
    expect(world.snapshots(place).find(({ id }) => id === snapshotId)?.tags).toMatchObject(tags);

    const root = host.rootFolder(image?.sourceInstanceId ?? "");
    expect(statSync(join(root, "opt/web/server.py")).mode & 0o777).toBe(0o755);
    expect(JSON.parse(readFileSync(join(root, "opt/web/build.json"), "utf8"))).toEqual({
      version: "1.0",
      commit: "0123456789ab",
    });
    expect(readFileSync(inventory, "utf8")).toContain("nginx\t1.24\n");
    expect(host.logins.at(-1)?.user).toBe("ubuntu");

    expect(leftovers()).toEqual([]);
    expect(proxy.refused).toEqual([]);
    expect(log.since(mark).filter(({ status }) => status !== 200 && status !== 0)).toEqual([]);
  });

  test("bakes a legacy JSON template", async () => {
    const flags = ["image_name=legacy-1", "image_version=1", "commit=abc", `ssh_port=${host.port}`];
    const { ended, output } = bake(
      join(templates, "legacy.json"),
      {},
      flags.flatMap((variable) => ["-var", variable]),
    );
    await success({ ended, output });
    const image = imageNamed("legacy-1");
    expect(image).toMatchObject({ state: "available", tags: { version: "1", commit: "abc" } });
    expect(statSync(join(host.rootFolder(image?.sourceInstanceId ?? ""), "opt/legacy")).isDirectory()).toBe(
      true,
    );
    expect(leftovers()).toEqual([]);
  });

  test("bakes a template that makes two images", async () => {
    const { ended, output } = bake(join(templates, "two-images"), { image_name: "both" });
    await success({ ended, output });
    expect([imageNamed("both-one")?.state, imageNamed("both-two")?.state]).toEqual([
      "available",
      "available",
    ]);
  });

  test("bakes on a volume of its own, and registers an image from its snapshot", async () => {
    const mark = log.entries.length;
    const tags = { "kiln:application": "web" };
    const { ended, output } = bake(join(templates, "surrogate"), {
      image_name: "surrogate",
      image_tags: JSON.stringify(tags),
    });
    await success({ ended, output });
    const image = imageNamed("surrogate");
    expect(image).toMatchObject({
      state: "available",
      architecture: "x86_64",
      rootDeviceName: "/dev/xvda",
      sourceInstanceId: undefined,
      sourceImageId: undefined,
      tags,
    });
    const [device, ...others] = image?.blockDevices ?? [];
    expect(others).toEqual([]);
    expect(world.snapshots(place).find(({ id }) => id === device?.snapshotId)).toMatchObject({
      state: "completed",
      volumeSize: 8,
      tags,
    });
    const asked = log.since(mark).map(({ action }) => action);
    expect(asked).toEqual(expect.arrayContaining(["CreateSnapshot", "DescribeSnapshots", "RegisterImage"]));
    expect(asked).not.toContain("CreateImage");
    expect(leftovers()).toEqual([]);
    expect(log.since(mark).filter(({ status }) => status !== 200 && status !== 0)).toEqual([]);
  });

  test("bakes on a Spot Instance", async () => {
    const mark = log.entries.length;
    const { ended, output } = bake(join(templates, "spot"), {
      image_name: "spot",
      image_tags: '{"kiln:application":"web"}',
      bake_tags: '{"kiln:bake":"mine"}',
    });
    await success({ ended, output });
    const image = imageNamed("spot");
    expect(image).toMatchObject({ state: "available", tags: { "kiln:application": "web" } });
    expect(world.instances(place).find(({ id }) => id === image?.sourceInstanceId)).toMatchObject({
      instanceType: "t3.medium",
      spotRequestId: expect.stringMatching(/^sir-[0-9a-f]{8}$/) as string,
      tags: { Name: "bake of spot", "kiln:bake": "mine" },
    });
    expect(world.spotRequests(place).map(({ tags }) => tags)).toEqual([
      { Name: "bake of spot", "kiln:bake": "mine" },
    ]);
    const asked = log.since(mark).map(({ action }) => action);
    expect(asked).toEqual(
      expect.arrayContaining(["CreateLaunchTemplate", "CreateFleet", "DeleteLaunchTemplate"]),
    );
    expect(asked).not.toContain("StopInstances");
    expect(leftovers()).toEqual([]);
    expect(log.since(mark).filter(({ status }) => status !== 200 && status !== 0)).toEqual([]);
  });

  test("tells why there is no Spot Instance, and leaves nothing", async () => {
    world.settings.withoutSpotCapacity = ["t3.medium", "m5.large"];
    const { ended, output } = bake(join(templates, "spot"), { image_name: "never" });
    expect(await ended).toBe(1);
    world.settings.withoutSpotCapacity = [];
    expect(output()).toContain("There is no Spot capacity available that matches your request.");
    expect(leftovers()).toEqual([]);
  });

  test("bakes a template that knows no tags", async () => {
    const { ended, output } = bake(join(templates, "no-image-tags"), {
      image_name: "plain",
      image_tags: '{"kiln:application":"web"}',
    });
    await success({ ended, output });
    expect(imageNamed("plain")).toMatchObject({ state: "available", tags: {} });
  });

  test("hides a secret in what people read; machines read it too before Packer 1.15.1", async () => {
    const template = join(templates, "prints-secret");
    const human = bake(template, { image_name: "human", token: "hunter2" });
    const machine = bake(template, { image_name: "machine", token: "hunter2" }, ["-machine-readable"]);
    expect([await human.ended, await machine.ended]).toEqual([0, 0]);
    expect(human.output()).toContain("the token is <sensitive>");
    expect(human.output()).not.toContain("hunter2");
    expect(machine.output()).toMatch(/the token is (?:hunter2|<sensitive>)/);
  });

  test("cleans up after a provisioner that fails", async () => {
    const { ended, output } = bake(join(templates, "failing-provisioner"), { image_name: "never" });
    expect(await ended).toBe(1);
    expect(output()).toContain("Script exited with non-zero exit status: 3");
    expect(imageNamed("never")).toBeUndefined();
    expect(leftovers()).toEqual([]);
  });

  test("refuses an invalid template before it asks AWS anything", async () => {
    const mark = log.entries.length;
    const { ended, output } = bake(join(templates, "invalid"), { image_name: "never" });
    expect(await ended).toBe(1);
    expect(output()).toContain("instance_typo");
    expect(log.since(mark)).toEqual([]);
  });

  test("cleans up after SIGTERM in the middle of a provisioner", async () => {
    const { child, ended, output } = bake(join(templates, "slow"), { image_name: "never" });
    await expect.poll(output, { timeout: 120_000 }).toContain("amazon-ebs.one: waiting");
    child.kill("SIGTERM");
    expect(await ended).toBe(1);
    expect(imageNamed("never")).toBeUndefined();
    expect(leftovers()).toEqual([]);
  });
});
