import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import { type Intent, preflight } from "../../src/rollout/preflight.ts";
import { refreshPreferences } from "../../src/rollout/strategy.ts";
import type { Surroundings } from "../../src/rollout/surroundings.ts";
import type { TargetState } from "../../src/rollout/target-state.ts";
import { IMAGE, instance, policyWith, targetState } from "./states.ts";

const SURROUNDINGS: Surroundings = {
  alarms: new Map([["web-5xx", "OK"]]),
  architectures: new Map([
    ["t3.small", ["i386", "x86_64"]],
    ["t4g.small", ["arm64"]],
  ]),
};
const PREFERENCES: RefreshPreferences = {
  MinHealthyPercentage: 100,
  MaxHealthyPercentage: 125,
  ScaleInProtectedInstances: "Refresh",
  StandbyInstances: "Ignore",
};
const INTENT: Intent = {
  image: { id: IMAGE, architecture: "x86_64", state: "available" },
  preferences: PREFERENCES,
  strategy: "Rolling",
  instanceType: undefined,
};
const check = (changes: Partial<TargetState>, intent: Partial<Intent> = {}) =>
  preflight(targetState(changes), SURROUNDINGS, { ...INTENT, ...intent });
const preferring = (changes: RefreshPreferences): Partial<Intent> => ({
  preferences: { ...PREFERENCES, ...changes },
});

const template = targetState().template;

describe("a target is looked at before anything changes", () => {
  test("one that is in order has no findings", () => {
    expect(check({})).toStrictEqual([]);
  });

  test("an image that is still to be baked has none either", () => {
    expect(check({}, { image: undefined })).toStrictEqual([]);
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
      "a group that is being deleted",
      { isBeingDeleted: true },
      true,
      "the group is being deleted: AWS starts no refresh of it any more",
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
      false,
      "web takes its image from resolve:ssm:/web/ami, with which AWS can neither start such a refresh nor roll it back: the group is first set to a version with the AMI that this means now",
    ],
    [
      "an SSM alias of an override's own template",
      { overrideTemplates: [{ ...template, id: "lt-2", name: "arm", imageId: "resolve:ssm:/web/arm" }] },
      false,
      "arm takes its image from resolve:ssm:/web/arm, with which AWS can neither start such a refresh nor roll it back: the group is first set to a version with the AMI that this means now",
    ],
    [
      "$Latest of an override's own template",
      { overrideTemplates: [{ ...template, id: "lt-2", name: "arm", version: "3", written: "$Latest" }] },
      false,
      "the group launches from $Latest of arm: it is pinned to version 3 first, which is what that means now; else any new version would be a release, and AWS could not roll back",
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
    [
      "a refresh under way",
      {
        activeRefresh: {
          InstanceRefreshId: "r-1",
          Status: "InProgress",
          PercentageComplete: 40,
          StartTime: new Date("2026-11-18T10:00:00Z"),
        },
      },
      false,
      "an instance refresh is running already: r-1, InProgress, 40 %, started 2026-11-18T10:00:00.000Z",
    ],
    [
      "one that is on its way",
      { instances: [instance({ lifecycleState: "Pending:Wait" })] },
      false,
      "i-0000000000000001 is still coming or going",
    ],
    [
      "some that come and go",
      {
        instances: [
          instance({ lifecycleState: "Pending" }),
          instance({ id: "i-2", lifecycleState: "Terminating:Wait" }),
        ],
      },
      false,
      "i-0000000000000001, i-2 are still coming or going",
    ],
    [
      "more than are named",
      {
        instances: Array.from({ length: 7 }, (_, index) =>
          instance({ id: `i-${index}`, lifecycleState: "Terminating" }),
        ),
      },
      false,
      "i-0, i-1, i-2, i-3, i-4 and 2 more are still coming or going",
    ],
    [
      "one that is unhealthy",
      { instances: [instance(), instance({ id: "i-2", healthy: false })] },
      false,
      "i-2 is unhealthy already, before anything was changed",
    ],
    [
      "an instance as heavy as the capacity",
      { mixedInstancesPolicy: policyWith({ WeightedCapacity: "4" }) },
      false,
      "an instance may weigh 4 of a desired capacity of 4: AWS may replace all at once",
    ],
    [
      "a warm pool",
      { hasWarmPool: true },
      false,
      "it has a warm pool, which AWS replaces after the instances in service: until then an old instance may come out of it",
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
    [
      "an unhealthy one that goes already",
      { instances: [instance({ healthy: false, lifecycleState: "Standby" })] },
    ],
    [
      "one that is protected, and replaced all the same",
      { instances: [instance({ protectedFromScaleIn: true })] },
    ],
    ["an instance type that AWS did not tell of", { template: { ...template, instanceType: "x9.huge" } }],
    ["instances lighter than the capacity", { mixedInstancesPolicy: policyWith({ WeightedCapacity: "3" }) }],
  ])("%s: in order", (_, changes) => {
    expect(check(changes, preferring({ StandbyInstances: "Terminate" }))).toStrictEqual([]);
  });

  test.each<
    [what: string, changes: Partial<TargetState>, intent: Partial<Intent>, fatal: boolean, message: string]
  >([
    [
      "an image of another architecture",
      { template: { ...template, instanceType: "t4g.small" } },
      {},
      true,
      `image ${IMAGE} is for x86_64, instances of type t4g.small run arm64`,
    ],
    [
      "an image of another architecture than an override's type",
      { mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }, { InstanceType: "t4g.small" }) },
      {},
      true,
      `image ${IMAGE} is for x86_64, instances of type t4g.small run arm64`,
    ],
    [
      "an image of another architecture than the environment's type",
      {},
      { instanceType: "t4g.small" },
      true,
      `image ${IMAGE} is for x86_64, instances of type t4g.small run arm64`,
    ],
    [
      "an alarm that is red",
      {},
      preferring({ AlarmSpecification: { Alarms: ["red"] } }),
      true,
      "the alarm red is in ALARM already: AWS would not start the rollout",
    ],
    [
      "an alarm without data",
      {},
      preferring({ AlarmSpecification: { Alarms: ["web-5xx", "silent"] } }),
      true,
      "the alarm silent is in INSUFFICIENT_DATA already: AWS would not start the rollout",
    ],
    [
      "an alarm that does not exist",
      {},
      preferring({ AlarmSpecification: { Alarms: ["gone"] } }),
      true,
      "there is no alarm gone",
    ],
    [
      "a root volume's strategy without a policy",
      { behindLoadBalancer: false },
      { strategy: "ReplaceRootVolume" },
      true,
      "`replace-root-volume` needs a mixed instances policy with overrides, which the group has not",
    ],
    [
      "a root volume's strategy with a policy without overrides",
      { behindLoadBalancer: false, mixedInstancesPolicy: policyWith() },
      { strategy: "ReplaceRootVolume" },
      true,
      "`replace-root-volume` needs a mixed instances policy with overrides, which the group has not",
    ],
    [
      "a root volume's strategy behind a load balancer",
      { mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }) },
      { strategy: "ReplaceRootVolume" },
      true,
      "`replace-root-volume` does not work behind a load balancer",
    ],
    [
      "a protected one that stays",
      { instances: [instance({ protectedFromScaleIn: true }), instance({ id: "i-2" })] },
      preferring({ ScaleInProtectedInstances: "Ignore" }),
      false,
      "i-0000000000000001, protected from scale-in, is left on the old image",
    ],
    [
      "two protected ones that stay",
      {
        instances: [
          instance({ protectedFromScaleIn: true }),
          instance({ id: "i-2", protectedFromScaleIn: true }),
        ],
      },
      preferring({ ScaleInProtectedInstances: "Ignore" }),
      false,
      "i-0000000000000001, i-2, protected from scale-in, are left on the old image",
    ],
    [
      "a protected one that is waited for",
      { instances: [instance({ protectedFromScaleIn: true })] },
      preferring({ ScaleInProtectedInstances: "Wait" }),
      false,
      "i-0000000000000001 protected from scale-in: AWS waits an hour for the protection to go, then the rollout fails",
    ],
    [
      "one in standby that is waited for",
      { instances: [instance({ lifecycleState: "Standby" })] },
      preferring({ StandbyInstances: "Wait" }),
      false,
      "i-0000000000000001 in standby: AWS waits an hour for it, then the rollout fails",
    ],
    [
      "two in standby that are waited for",
      {
        instances: [
          instance({ lifecycleState: "Standby" }),
          instance({ id: "i-2", lifecycleState: "Standby" }),
        ],
      },
      preferring({ StandbyInstances: "Wait" }),
      false,
      "i-0000000000000001, i-2 in standby: AWS waits an hour for them, then the rollout fails",
    ],
    [
      "an only instance that goes first",
      { capacity: { min: 0, max: 2, desired: 1 } },
      preferring({ MinHealthyPercentage: 0, MaxHealthyPercentage: 100 }),
      false,
      "no instance has to stay healthy (0 % of 1): the group is down while its only instance is replaced",
    ],
    [
      "all instances that may go first",
      {},
      preferring({ MinHealthyPercentage: 0, MaxHealthyPercentage: 100 }),
      false,
      "no instance has to stay healthy (0 % of 4): the group is down while they are replaced",
    ],
    [
      "an instance type without effect",
      { mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }) },
      { instanceType: "t3.small" },
      false,
      "`instance-type: t3.small` changes nothing: the overrides of the mixed instances policy name the types",
    ],
  ])("%s", (_, changes, intent, fatal, message) => {
    const alarms = new Map([...SURROUNDINGS.alarms, ["red", "ALARM"], ["silent", "INSUFFICIENT_DATA"]]);
    expect(
      preflight(targetState(changes), { ...SURROUNDINGS, alarms }, { ...INTENT, ...intent }),
    ).toStrictEqual([
      { fatal, message: `eu-west-1/web-dev: ${message}`, remedy: expect.stringMatching(/\.$/) },
    ]);
  });

  test.each<[what: string, changes: Partial<TargetState>, intent: Partial<Intent>]>([
    ["an alarm that is green", {}, preferring({ AlarmSpecification: { Alarms: ["web-5xx"] } })],
    [
      "an image whose architecture is not known",
      { template: { ...template, instanceType: "t4g.small" } },
      {
        image: { id: IMAGE, architecture: "", state: "available" },
      },
    ],
    [
      "another type in the template than the environment's",
      { template: { ...template, instanceType: "t4g.small" } },
      {
        instanceType: "t3.small",
      },
    ],
    [
      "another type in the template than in the overrides",
      {
        template: { ...template, instanceType: "t4g.small" },
        mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }),
      },
      {},
    ],
    [
      "an instance type that no override names",
      { mixedInstancesPolicy: policyWith({ WeightedCapacity: "1" }) },
      {
        instanceType: "t3.small",
      },
    ],
    [
      "a protected one that goes already",
      { instances: [instance({ protectedFromScaleIn: true, lifecycleState: "Standby" })] },
      preferring({ ScaleInProtectedInstances: "Wait", StandbyInstances: "Terminate" }),
    ],
    [
      "a root volume's strategy for a group that can",
      {
        behindLoadBalancer: false,
        mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }),
      },
      { strategy: "ReplaceRootVolume" },
    ],
    [
      "one of two that stays healthy",
      { capacity: { min: 1, max: 2, desired: 2 } },
      preferring({ MinHealthyPercentage: 1, MaxHealthyPercentage: 100 }),
    ],
  ])("%s: in order", (_, changes, intent) => {
    expect(check(changes, intent)).toStrictEqual([]);
  });

  test("recycling a group of one takes it down to nothing", () => {
    const preferences = refreshPreferences({ strategy: "recycle" }, 1);
    expect(check({ capacity: { min: 0, max: 1, desired: 1 } }, { preferences })).toMatchObject([
      {
        fatal: false,
        message: expect.stringContaining("the group is down while its only instance is replaced"),
      },
    ]);
    expect(
      check(
        { capacity: { min: 0, max: 2, desired: 2 } },
        { preferences: refreshPreferences({ strategy: "recycle" }, 2) },
      ),
    ).toStrictEqual([]);
  });

  test("a root volume's strategy lacks all that it needs at once", () => {
    expect(
      check({ hasWarmPool: true }, { strategy: "ReplaceRootVolume" }).flatMap(({ fatal, message }) =>
        fatal ? [message.replace(/^.*`replace-root-volume` /, "")] : [],
      ),
    ).toStrictEqual([
      "needs a mixed instances policy with overrides, which the group has not",
      "does not work with a warm pool",
      "does not work behind a load balancer",
    ]);
  });

  test.each<[names: string, preferences: RefreshPreferences, messages: readonly string[]]>([
    [
      "without a word about protected and standby instances AWS waits for both",
      {},
      [
        "i-2 in standby: AWS waits an hour for it, then the rollout fails",
        "i-1 protected from scale-in: AWS waits an hour for the protection to go, then the rollout fails",
      ],
    ],
    ["both may be replaced", { StandbyInstances: "Terminate", ScaleInProtectedInstances: "Refresh" }, []],
  ])("%s", (_, preferences, messages) => {
    const instances = [
      instance({ id: "i-1", protectedFromScaleIn: true }),
      instance({ id: "i-2", lifecycleState: "Standby" }),
    ];
    expect(
      check(
        { instances },
        { preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 125, ...preferences } },
      ).map(({ message }) => message.replace("eu-west-1/web-dev: ", "")),
    ).toStrictEqual(messages);
  });

  test("the rollout's own warm-up counts, as none too", () => {
    expect(check({ warmup: 0 }, preferring({ InstanceWarmup: 30 }))).toStrictEqual([]);
    expect(check({ warmup: 60 }, preferring({ InstanceWarmup: 0 }))).toHaveLength(1);
  });

  test.each([
    [
      "ALARM",
      "See to the alarm first; to go back while it is red use `command: rollback` with `incident: true`.",
    ],
    ["INSUFFICIENT_DATA", "Give the alarm data, or have it treat missing data as good."],
  ])("what to do about an alarm in %s is said", (state, remedy) => {
    const surroundings = { ...SURROUNDINGS, alarms: new Map([["web-5xx", state]]) };
    const preferences = { ...PREFERENCES, AlarmSpecification: { Alarms: ["web-5xx"] } };
    expect(preflight(targetState(), surroundings, { ...INTENT, preferences })[0]?.remedy).toBe(remedy);
  });

  test("Terraform is told how to leave the template alone", () => {
    expect(check({ managedBy: "Terraform" })[0]?.remedy).toBe(
      "Add `lifecycle { ignore_changes = [launch_template] }` to the group.",
    );
  });

  test.each(["pending", "failed", "deregistered"])("an image that is %s is fatal", (state) => {
    expect(check({}, { image: { id: IMAGE, architecture: "x86_64", state } })).toStrictEqual([
      {
        fatal: true,
        message: `eu-west-1/web-dev: image ${IMAGE} is ${state}`,
        remedy: "Wait until it is available, or bake anew with `rebake: always`.",
      },
    ]);
  });

  test("all findings are told at once, what is fatal first", () => {
    const findings = check(
      {
        suspendedProcesses: ["HealthCheck", "Launch"],
        warmup: 0,
        template: { ...template, written: "$Latest", imageId: "resolve:ssm:/web/ami" },
      },
      preferring({ AlarmSpecification: { Alarms: ["gone"] } }),
    );
    expect(findings.map(({ fatal }) => fatal)).toStrictEqual([true, true, false, false, false, false]);
  });
});
