import { expect, test } from "vitest";
import { withMiddleware } from "../../src/aws/middleware.ts";
import type { ImageId } from "../../src/domain/image.ts";
import { createTemplateVersion } from "../../src/rollout/launch-template.ts";
import { home, setStage, type Stage } from "../sandbox/ec2-stage.ts";

/** AWS makes a version and warns in the same answer; of an image that was made a moment ago that may be too early. */

/** Milliseconds for which EC2 does not show an image. */
const LAG = 20_000;

function making(stage: Stage, imageId: string) {
  const base = stage.world.addLaunchTemplate(home, "web", { InstanceType: "t3.small" });
  const clock = {
    now: () => stage.clock.date(),
    sleep: async (milliseconds: number) => stage.clock.advance(milliseconds),
  };
  const template = {
    id: base.id,
    name: "web",
    version: "1",
    written: "1",
    imageId: "ami-1",
    instanceType: undefined,
  };
  const target = { region: home.region, autoScalingGroup: "web-dev" };
  const change = { imageId: imageId as ImageId, imageName: "web-1", instanceType: undefined };
  const { signal } = new AbortController();
  return {
    versions: () => stage.world.launchTemplateVersions(base.id).length,
    made: createTemplateVersion(withMiddleware(stage.ec2), { target, template, change }, { clock, signal }),
  };
}

test("an image that EC2 does not know yet is waited for; one version is made", async () => {
  const stage = await setStage({ visibilityLag: { image: LAG } });
  const { id } = stage.world.addImage(home, { name: "web-1" });
  const began = stage.clock.now();
  const { made, versions } = making(stage, id);
  expect(await made).toMatchObject({ name: "web", version: "2" });
  expect(versions()).toBe(2);
  expect(stage.clock.now() - began).toBeGreaterThanOrEqual(LAG);
});

test("one that it never knows is an error after five minutes, with what to do", async () => {
  const stage = await setStage();
  const began = stage.clock.now();
  await expect(making(stage, "ami-0123456789abcdef0").made).rejects.toMatchObject({
    message: "eu-west-1/web-dev: AWS would not launch instances from the new version of web",
    state: expect.stringContaining("The group is as it was, on version 1. InvalidAMIID.NotFound") as string,
    next: expect.stringContaining("The AMI is gone") as string,
  });
  expect(stage.clock.now() - began).toBeLessThanOrEqual(300_000);
});
