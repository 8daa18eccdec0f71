/** The AWS CLI, a client that is not ours, against the sandbox. Skipped where `aws` is not on the PATH. */
import { execFile, spawnSync } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { home, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";
import { Stage as ScenarioStage } from "../scenarios/stage.ts";

const isInstalled = spawnSync("aws", ["--version"]).status === 0;
const reason = isInstalled ? "" : " (skipped: no `aws` on the PATH)";

async function aws(stage: Stage, ...args: readonly string[]): Promise<unknown> {
  // By argument: AWS_ENDPOINT_URL is only known since 2.13, and Debian's is older.
  const all = [...args, "--endpoint-url", stage.server.url, "--output", "json"];
  const { stdout } = await promisify(execFile)("aws", all, {
    env: {
      ...process.env,
      AWS_ACCESS_KEY_ID: "AKIAHOME",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_DEFAULT_REGION: home.region,
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    },
  });
  return JSON.parse(stdout);
}

describe.skipIf(!isInstalled)(`the AWS CLI${reason}`, () => {
  test("describe-images", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web-1", tags: { app: "web" } });
    const found = await aws(
      stage,
      "ec2",
      "describe-images",
      "--owners",
      "self",
      "--filters",
      "Name=name,Values=web-*",
    );
    expect(found).toMatchObject({
      Images: [{ ImageId: image.id, State: "available", Tags: [{ Key: "app", Value: "web" }] }],
    });
  });

  test("get-caller-identity", async () => {
    const stage = await setStage();
    expect(await aws(stage, "sts", "get-caller-identity")).toMatchObject({ Account: home.accountId });
  });

  test("create-launch-template-version", async () => {
    const stage = await setStage();
    const { id } = stage.world.addImage(home, { name: "web-1" });
    stage.world.addLaunchTemplate(home, "web", { ImageId: "ami-1", InstanceType: "t3.micro" });
    const command = [
      "create-launch-template-version",
      "--launch-template-name",
      "web",
      "--source-version",
      "1",
    ];
    const data = JSON.stringify({ ImageId: id });
    const made = await aws(stage, "ec2", ...command, "--launch-template-data", data);
    expect(made).toMatchObject({
      LaunchTemplateVersion: {
        VersionNumber: 2,
        LaunchTemplateData: { ImageId: id, InstanceType: "t3.micro" },
      },
    });
  });

  test("an error of AWS is an error of the CLI", async () => {
    const stage = await setStage();
    const missing = aws(stage, "ec2", "describe-images", "--image-ids", "ami-0123456789abcdef0");
    await expect(missing).rejects.toThrow("(InvalidAMIID.NotFound)");
  });

  test("with nothing but the environment that the sandbox prints, proxy and all", async () => {
    await using stage = await ScenarioStage.open({ ssh: false });
    const { stdout } = await promisify(execFile)(
      "aws",
      [
        "autoscaling",
        "describe-auto-scaling-groups",
        "--query",
        "AutoScalingGroups[].AutoScalingGroupName",
        "--output",
        "json",
      ],
      { env: { PATH: process.env["PATH"], AWS_DEFAULT_REGION: home.region, ...stage.sandbox.environment() } },
    );
    expect(JSON.parse(stdout)).toEqual(["web-dev", "web-qa", "web-production"]);
  });
});
