import { describe, expect, test } from "vitest";
import { createAutoScalingWorld } from "../../sandbox/aws/autoscaling/world.ts";
import { createEc2World } from "../../sandbox/aws/ec2/world.ts";
import { createClock } from "../../sandbox/clock.ts";
import { place, refusal, setStage } from "./autoscaling-stage.ts";

const quick = { MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 };

/** `web` on version 3 of its template, which has an SSM parameter for its image. */
function setAliasStage() {
  return setStage(
    { desired: 2, launchTemplate: { launchTemplateName: "web", version: "3" } },
    {},
    (fleet) => {
      fleet.addImage("resolve:ssm:/image");
      fleet.addVersion("web", "resolve:ssm:/image");
    },
  );
}

describe("an SSM parameter instead of an AMI id in the saved template", () => {
  test.each([
    { what: "a desired configuration", preferences: {}, desired: undefined },
    { what: "SkipMatching", preferences: { SkipMatching: true }, desired: {} },
    { what: "AutoRollback", preferences: { AutoRollback: true }, desired: undefined },
  ])("refuses $what", ({ preferences, desired }) => {
    const stage = setAliasStage();
    expect(refusal(() => stage.start(preferences, desired))).toMatch(
      /^ValidationError: .* SSM parameter instead of an AMI ID/,
    );
    expect(stage.refreshes()).toStrictEqual([]);
  });

  test("leaves a plain refresh possible, and no rollback of it", () => {
    const stage = setAliasStage();
    stage.start(quick, {});
    expect(refusal(() => stage.call("RollbackInstanceRefresh"))).toMatch(/^IrreversibleInstanceRefresh: /);
    stage.runTo("Successful");
    expect(stage.fleet.launches).toHaveLength(4);
  });

  test("refuses a warm pool", () => {
    expect(refusal(() => setAliasStage().call("PutWarmPool", { MinSize: 1 }))).toMatch(/SSM parameter/);
  });

  test("launches what the parameter means now", () => {
    const clock = createClock();
    const ec2 = createEc2World({ clock });
    const world = createAutoScalingWorld({ clock, fleet: ec2.fleet });
    const image = ec2.addImage(place, { name: "web" });
    ec2.settings.ssmParameters["/image"] = image.id;
    const template = ec2.addLaunchTemplate(place, "web", {
      ImageId: "resolve:ssm:/image",
      InstanceType: "t3.micro",
    });
    world.addGroup({
      ...place,
      name: "web",
      desired: 1,
      launchTemplate: { launchTemplateId: template.id, version: "1" },
    });
    expect(ec2.instances(place).map((instance) => instance.imageId)).toStrictEqual([image.id]);
  });
});
