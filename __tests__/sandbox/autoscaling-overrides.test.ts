import { describe, expect, test } from "vitest";
import { mixed, setMixedStage } from "./autoscaling-mixed.ts";
import type { OverrideRequest } from "./autoscaling-mixed.ts";

const quick = { MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 };

/** Of the policy's template, of a template of its own, and with an image of its own. */
const overrides = (arm: string, image: string): OverrideRequest[] => [
  { type: "m5.large" },
  { type: "m7g.large", template: ["arm", arm] },
  { type: "g5.large", image },
];

function setTypedStage() {
  const stage = setMixedStage(
    overrides("1", "ami-gpu-old"),
    { desired: 6 },
    { pickOverride: "spread" },
    (fleet) => {
      for (const image of ["ami-arm-old", "ami-arm-new", "ami-gpu-old", "ami-gpu-new"]) fleet.addImage(image);
      fleet.addVersion("arm", "ami-arm-old");
      fleet.addVersion("arm", "ami-arm-new");
    },
  );
  /** What the members are made from, without repetitions. */
  const made = () =>
    new Set(
      stage
        .members()
        .filter((member) => member.lifecycleState !== "Terminating")
        .map((member) =>
          [
            member.instanceType,
            member.launchTemplate?.launchTemplateName,
            member.launchTemplate?.version,
            member.imageId,
          ].join(" "),
        ),
    );
  return { ...stage, made };
}

const old = new Set(["m5.large web 1 ami-old", "m7g.large arm 1 ami-arm-old", "g5.large web 1 ami-gpu-old"]);

describe("overrides of a mixed instances policy", () => {
  test("launch from their own template and their own image, and only the latter is shown", () => {
    const stage = setTypedStage();
    expect(stage.made()).toStrictEqual(old);
    const { member: shown } = stage.call("DescribeAutoScalingInstances")["AutoScalingInstances"] as {
      member: Record<string, unknown>[];
    };
    const images = shown.map((one) => `${String(one["InstanceType"])} ${String(one["ImageId"])}`);
    expect(new Set(images)).toStrictEqual(
      new Set(["m5.large undefined", "m7g.large undefined", "g5.large ami-gpu-old"]),
    );
    expect(shown.find((one) => one["InstanceType"] === "m7g.large")).toMatchObject({
      LaunchTemplate: { LaunchTemplateName: "arm", Version: "1" },
    });
  });

  test("are compared by instance type when a refresh skips what matches", () => {
    const stage = setTypedStage();
    const kept = stage.members().filter((member) => member.instanceType !== "m7g.large");
    stage.start({ ...quick, SkipMatching: true }, mixed("1", overrides("2", "ami-gpu-old")));
    stage.runTo("Successful");
    expect(stage.members()).toStrictEqual(expect.arrayContaining(kept));
    expect(stage.made()).not.toContain("m7g.large arm 1 ami-arm-old");
  });

  test("are all refreshed, and rolled back to what each of them was", () => {
    const stage = setTypedStage();
    stage.start(quick, mixed("2", overrides("2", "ami-gpu-new")));
    stage.clock.runUntil(() => (stage.refresh().PercentageComplete ?? 0) >= 50);
    expect(stage.made()).not.toStrictEqual(old);
    stage.call("RollbackInstanceRefresh");
    stage.runTo("RollbackSuccessful");
    expect([...stage.made()].every((one) => old.has(one))).toBe(true);
    stage.start(quick, mixed("2", overrides("2", "ami-gpu-new")));
    stage.runTo("Successful");
    const fresh = new Set([
      "m5.large web 2 ami-new",
      "m7g.large arm 2 ami-arm-new",
      "g5.large web 2 ami-gpu-new",
    ]);
    expect([...stage.made()].every((one) => fresh.has(one))).toBe(true);
  });

  test("with a template or an image of their own stay on it where only the policy's is changed", () => {
    const stage = setTypedStage();
    stage.start(quick, mixed("2", overrides("1", "ami-gpu-old")));
    stage.runTo("Successful");
    expect(stage.made()).not.toContain("g5.large web 2 ami-new");
    const images = new Set(stage.members().map((member) => member.imageId));
    expect([...images].every((image) => ["ami-new", "ami-arm-old", "ami-gpu-old"].includes(image))).toBe(
      true,
    );
  });
});
