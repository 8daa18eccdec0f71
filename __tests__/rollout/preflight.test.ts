import { describe, expect, test } from "vitest";
import { estimate, preflight } from "../../src/rollout/preflight.ts";
import type { TargetState } from "../../src/rollout/target-state.ts";
import { IMAGE, instance, targetState } from "./states.ts";

const AVAILABLE = { id: IMAGE, architecture: "x86_64", state: "available" };
const PREFERENCES = { maxHealthy: 125, warmup: undefined };
const check = (changes: Partial<TargetState>, preferences = PREFERENCES) =>
  preflight(targetState(changes), AVAILABLE, preferences);

const template = targetState().template;

describe("a target is looked at before anything changes", () => {
  test("one that is in order has no findings", () => {
    expect(check({})).toStrictEqual([]);
  });

  test("an image that is still to be baked has none either", () => {
    expect(preflight(targetState(), undefined, PREFERENCES)).toStrictEqual([]);
  });

  test.each<[what: string, changes: Partial<TargetState>, fatal: boolean, message: string]>([
    [
      "InstanceRefresh suspended",
      { suspendedProcesses: ["InstanceRefresh"] },
      true,
      "the process InstanceRefresh is suspended: a refresh would wait without end",
    ],
    [
      "Launch suspended",
      { suspendedProcesses: ["Launch"] },
      true,
      "the process Launch is suspended: a refresh would wait without end",
    ],
    [
      "Terminate suspended",
      { suspendedProcesses: ["Terminate"] },
      true,
      "the process Terminate is suspended: a refresh would wait without end",
    ],
    [
      "HealthCheck suspended",
      { suspendedProcesses: ["HealthCheck"] },
      false,
      "the process HealthCheck is suspended: bad instances may go unnoticed",
    ],
    [
      "an SSM alias",
      { template: { ...template, imageId: "resolve:ssm:/web/ami" } },
      true,
      "the launch template takes its image from resolve:ssm:/web/ami: AWS refuses a desired configuration for it",
    ],
    [
      "$Latest",
      { template: { ...template, written: "$Latest" } },
      false,
      "the group launches from $Latest of web: it is pinned to version 7 first, which is what that means now; else any new version would be a release, and AWS could not roll back",
    ],
    [
      "$Default",
      { template: { ...template, written: "$Default" } },
      false,
      "the group launches from $Default of web: it is pinned to version 7 first, which is what that means now; else any new version would be a release, and AWS could not roll back",
    ],
    [
      "CloudFormation",
      { managedBy: "CloudFormation" },
      false,
      "it is managed by CloudFormation, which will see the new template version as drift",
    ],
    [
      "no capacity",
      { capacity: { min: 0, max: 4, desired: 0 } },
      false,
      "the desired capacity is 0: nothing will be replaced and nothing verified",
    ],
    [
      "a surge over the maximum",
      { capacity: { min: 1, max: 4, desired: 4 } },
      false,
      "the surge of this rollout goes over the group's maximum size of 4 while it lasts",
    ],
    [
      "one in standby",
      { instances: [instance({ lifecycleState: "Standby" })] },
      false,
      "i-0000000000000001 in standby is not replaced",
    ],
    [
      "two in standby",
      {
        instances: [
          instance({ lifecycleState: "Standby" }),
          instance({ id: "i-2", lifecycleState: "Standby" }),
        ],
      },
      false,
      "i-0000000000000001, i-2 in standby are not replaced",
    ],
    [
      "EC2's health check behind a load balancer",
      { healthCheckType: "EC2" },
      false,
      "the health check is EC2's only, behind a load balancer: an image that boots but does not serve would be released",
    ],
    [
      "no warm-up",
      { warmup: 0 },
      false,
      "new instances have no warm-up: they count as good the moment they are in service",
    ],
    [
      "no warm-up known",
      { warmup: undefined },
      false,
      "new instances have no warm-up: they count as good the moment they are in service",
    ],
  ])("%s", (_, changes, fatal, message) => {
    expect(check(changes)).toStrictEqual([
      { fatal, message: `eu-west-1/web-dev: ${message}`, remedy: expect.stringMatching(/\.$/) },
    ]);
  });

  test.each<[what: string, changes: Partial<TargetState>]>([
    [
      "processes that do not matter",
      { suspendedProcesses: ["AZRebalance", "ScheduledActions", "AlarmNotification"] },
    ],
    ["EC2's health check without a load balancer", { healthCheckType: "EC2", behindLoadBalancer: false }],
    ["a surge just within the maximum", { capacity: { min: 1, max: 5, desired: 4 } }],
    ["a template without an image", { template: { ...template, imageId: undefined } }],
  ])("%s are in order", (_, changes) => {
    expect(check(changes)).toStrictEqual([]);
  });

  test("the rollout's own warm-up counts, as none too", () => {
    expect(check({ warmup: 0 }, { maxHealthy: 125, warmup: 30 as never })).toStrictEqual([]);
    expect(check({ warmup: 60 }, { maxHealthy: 125, warmup: 0 as never })).toHaveLength(1);
  });

  test("Terraform is told how to leave the template alone", () => {
    expect(check({ managedBy: "Terraform" })[0]?.remedy).toBe(
      "Add `lifecycle { ignore_changes = [launch_template] }` to the group.",
    );
  });

  test.each(["pending", "failed", "deregistered"])("an image that is %s is fatal", (state) => {
    expect(preflight(targetState(), { ...AVAILABLE, state }, PREFERENCES)).toStrictEqual([
      {
        fatal: true,
        message: `eu-west-1/web-dev: image ${IMAGE} is ${state}`,
        remedy: "Wait until it is available, or bake anew with `rebake: always`.",
      },
    ]);
  });

  test("all findings are told at once, what is fatal first", () => {
    const findings = check({
      suspendedProcesses: ["HealthCheck", "Launch"],
      warmup: 0,
      template: { ...template, written: "$Latest", imageId: "resolve:ssm:/web/ami" },
    });
    expect(findings.map(({ fatal }) => fatal)).toStrictEqual([true, true, false, false, false]);
  });
});

test.each([
  [0, 100, 110, 60, "no time"],
  [1, 100, 200, 60, "about 2 min"],
  [4, 100, 125, 60, "about 8 min"],
  [10, 100, 110, 240, "about 50 min"],
  [10, 90, 120, 240, "about 20 min"],
  [4, 100, 100, 0, "about 4 min"],
  [4, 100, 200, undefined, "about 1 min"],
])("%i instances at %i/%i with a warm-up of %s take %s", (desired, min, max, warmup, text) => {
  expect(estimate(targetState({ capacity: { min: 0, max: 99, desired }, warmup }), min, max)).toBe(text);
});
