import { describe, expect, test } from "vitest";
import { RolloutError } from "../../src/domain/errors.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { ReleaseStage } from "./release-stage.ts";

/** What AWS does in the rarer cases, and what Kiln makes of it; the numbers are the research's conformance scenarios. */

const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const ROLLING = { strategy: "rolling" } as const;
const MINUTE = 60_000;

const statuses = (stage: ReleaseStage): string[] =>
  stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status);

async function open(desired: number, changes: Parameters<ReleaseStage["addGroup"]>[2] = {}) {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", desired, changes);
  return stage;
}

describe("conformance", () => {
  test("8: AWS's rollback fails, for the image before is gone: the worst case, instance by instance", async () => {
    await using stage = await open(4);
    stage.setHealth((member) => {
      if (member.imageId === stage.newImage) return { unhealthyAfter: 200_000 };
      return member.ordinal > 4
        ? { launchFailure: "The AMI ID does not exist. Launching EC2 instance failed." }
        : undefined;
    });
    const released = await stage.release(
      [TARGET],
      { ...ROLLING, smokeTest: { command: ["t"], timeout: 60 }, bakeTime: 600 },
      {
        test: { code: 1 },
      },
    );
    const error = released.error as RolloutError;
    expect(statuses(stage), released.log.join("\n")).toEqual(["RollbackFailed"]);
    expect(error).toBeInstanceOf(RolloutError);
    expect(error.rolledBack).toBe(false);
    expect(error.message).toContain("could not be rolled back");
    expect(error.state).toMatch(/- i-[0-9a-f]+: version [12], InService/);
    expect(error.next).toContain("command: rollback");
    expect(stage.records()).toEqual([]);
  });

  test("10: an alarm without data stalls the refresh, and it goes on when there are data again", async () => {
    await using stage = await open(4);
    const { autoScaling, clock } = stage.sandbox;
    autoScaling.setAlarm("web-5xx", "OK");
    const released = await stage.release(
      [TARGET],
      { ...ROLLING, alarms: ["web-5xx"] },
      {
        onStart: () => {
          clock.after(2 * MINUTE, () => autoScaling.setAlarm("web-5xx", "INSUFFICIENT_DATA"));
          clock.after(20 * MINUTE, () => autoScaling.setAlarm("web-5xx", "OK"));
        },
      },
    );
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.took).toBeGreaterThan(20 * MINUTE);
    expect(released.log.join("\n")).toContain("no progress for a while: nothing has failed");
  });

  test("13: a process suspended meanwhile: it is told once, and the refresh goes on when it is resumed", async () => {
    await using stage = await open(4);
    const { autoScaling, clock } = stage.sandbox;
    const released = await stage.release([TARGET], ROLLING, {
      onStart: () => {
        clock.after(2 * MINUTE, () => autoScaling.suspend("web", "InstanceRefresh"));
        clock.after(60 * MINUTE, () => autoScaling.resume("web", "InstanceRefresh"));
      },
    });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    const told = released.log.filter((line) =>
      line.includes("the process InstanceRefresh is suspended: resume it"),
    );
    expect(told).toHaveLength(1);
  });

  test("20: somebody cancels our rollback: the instances are mixed, and Kiln goes back itself", async () => {
    await using stage = await open(10);
    stage.setHealth((member) =>
      member.imageId === stage.newImage && member.ordinal > 13 ? { healthyAfter: "never" } : undefined,
    );
    const { clock } = stage.sandbox;
    const cancel = (): void => {
      if (statuses(stage)[0] === "RollbackInProgress") stage.call("CancelInstanceRefresh", "web");
      else clock.after(1000, cancel);
    };
    const released = await stage.release([TARGET], ROLLING, { onStart: () => clock.after(1000, cancel) });
    expect((released.error as RolloutError).rolledBack, released.log.join("\n")).toBe(true);
    expect(statuses(stage)).toEqual(["Cancelled", "Successful"]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
  });

  test("24: contention when it starts is waited out", async () => {
    await using stage = await open(2);
    stage.sandbox.faults.inject(
      { action: "StartInstanceRefresh" },
      { kind: "reply", status: 500, code: "ResourceContention", message: "pending update" },
      { times: 2 },
    );
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(statuses(stage)).toEqual(["Successful"]);
  });

  test("38: a refresh that does not fit into the timeout is rolled back long before AWS's 14 days", async () => {
    await using stage = await open(100, { defaultInstanceWarmup: 600 });
    const released = await stage.release(
      [TARGET],
      { ...ROLLING, maxHealthy: 101 },
      { timeout: 6 * 60 * MINUTE },
    );
    expect((released.error as RolloutError).rolledBack).toBe(true);
    expect((released.error as Error).message).toContain("the timeout of 6 h has passed");
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
  });

  test("39: a warm pool is replaced after the instances in service, and shown", async () => {
    await using stage = await open(4, { warmPool: { minSize: 3 } });
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toContain(
      "it has a warm pool, which AWS replaces after the instances in service",
    );
    expect(released.log.join("\n")).toMatch(/warm pool \d+ %/);
    const { warm } = stage.sandbox.autoScaling.group("web");
    expect(new Set(warm.map(({ imageId }) => imageId))).toEqual(new Set([stage.newImage]));
  });

  test("40: the bake time is waited for, with few looks", async () => {
    await using stage = await open(2);
    const without = await stage.release([TARGET], ROLLING);
    await using other = await open(2);
    const baked = await other.release([TARGET], { ...ROLLING, bakeTime: 1800 });
    expect(baked.error ?? without.error).toBeUndefined();
    expect(baked.took - without.took).toBeGreaterThan(29 * MINUTE);
    expect(baked.requests - without.requests).toBeLessThan(36);
    expect(baked.log.join("\n")).toContain("baking: AWS watches before it calls it done");
  });
});

describe("lifecycle hooks", () => {
  const hook = (heartbeatTimeout: number, defaultResult: "CONTINUE" | "ABANDON") => ({
    lifecycleHooks: [{ name: "setup", transition: "launching" as const, heartbeatTimeout, defaultResult }],
  });

  test("that are completed in time only make it slower", async () => {
    await using stage = await open(2, hook(120, "CONTINUE"));
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
  });

  test("that abandon the instance are failed replacements, and named", async () => {
    await using stage = await open(2, hook(60, "ABANDON"));
    const released = await stage.release([TARGET], ROLLING);
    const error = released.error as RolloutError;
    expect(error.rolledBack, released.log.join("\n")).toBe(true);
    expect(error.message).toContain("replacements failed");
    expect(error.state).toContain("Known cause: ");
  });

  test("that nobody completes are told, while it waits for them", async () => {
    await using stage = await open(2, hook(1500, "CONTINUE"));
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toMatch(/no progress for a while: i-\w+ wait for a lifecycle hook/);
  });
});

describe("a failure explains itself", () => {
  test("with activities, the load balancer's reason, the console and a known cause", async () => {
    await using stage = await open(2);
    const { sandbox, newImage } = stage;
    stage.setHealth({ [newImage]: { healthyAfter: "never" } });
    sandbox.elb.setReason(newImage, {
      reason: "Target.ResponseCodeMismatch",
      description: "Health checks failed with these codes: [503]",
    });
    sandbox.ec2.setConsole(newImage, "booting\nweb.service: Failed with result 'exit-code'.\n::error::boo\n");
    const released = await stage.release([TARGET], ROLLING);
    const state = (released.error as RolloutError).state ?? "";
    expect(state).toContain("Instances that were launched and terminated again:");
    expect(state).toContain("ELB system health check failure");
    expect(state).toContain("  | web.service: Failed with result 'exit-code'.");
    expect(state).toContain("  | ::error::boo");
    expect(state).toContain("Known cause: ");
  });
});
