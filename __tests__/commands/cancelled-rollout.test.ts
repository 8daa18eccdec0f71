import { describe, expect, test } from "vitest";
import { TargetBoard } from "../../src/commands/target-board.ts";
import { cancelRollouts } from "../../src/commands/cancelled-rollout.ts";
import type { Ports } from "../../src/commands/ports.ts";
import type { RolloutRequest } from "../../src/commands/request.ts";
import type { ReleaseOrder } from "../../src/commands/release-order.ts";
import type { Environment } from "../../src/domain/application.ts";
import { CancelledError, RemoteError } from "../../src/domain/errors.ts";
import { configurationWith, releaseVersions, savedConfiguration } from "../../src/rollout/launch-template.ts";
import type { TargetRollout } from "../../src/rollout/rollout.ts";
import { VirtualClock } from "../image/programs.ts";
import { clientsOf, FakeGroup } from "../rollout/fake-auto-scaling.ts";
import { targetState } from "../rollout/states.ts";

const IMAGE = "ami-0bbbbbbbbbbbbbbbb";

const ENVIRONMENT = { name: "production" } as Environment;

/** A cancelled run over these groups, with what it had noted. */
function stage(groups: readonly FakeGroup[], onCancel: RolloutRequest["onCancel"] = "rollback") {
  const noted: unknown[] = [];
  const ports = {
    awsOf: () => clientsOf(groups),
    clock: new VirtualClock(),
    facts: { publish: () => {}, publishEnvironment: () => {} },
    unfinished: { refreshNoted: (refresh: unknown) => noted.push(refresh) },
    signal: AbortSignal.abort(new CancelledError("cancelled")),
  } as unknown as Ports;
  const targets = groups.map(({ region, name }) => ({ region, autoScalingGroup: name }));
  const board = new TargetBoard(ENVIRONMENT, targets.map((target) => ({ target })) as never, ports);
  const rollouts = targets.map((target): TargetRollout => {
    const state = targetState({ target });
    const versions = releaseVersions([[state.template, { id: "lt-1", name: "web", version: "8" }]]);
    return {
      kind: "refresh",
      state,
      versions,
      configuration: configurationWith(state, versions.choose),
      imageId: IMAGE,
      preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 150 },
      strategy: "Rolling",
      pace: { capacity: 4, warmup: 60, preferences: {}, image: IMAGE },
      maxFailures: 3,
      check: undefined,
      mayGoBack: true,
      onStarting: () => board.starting(target, versions.base),
      onStarted: (id) => board.started(target, id),
      refreshes: () => board.refreshesOf(target),
    };
  });
  const start = (index: number): void => {
    const [group, rollout] = [groups[index], rollouts[index]];
    if (group === undefined || rollout === undefined) throw new Error("no such target");
    const { configuration } = rollout;
    rollout.onStarted(group.start({ AutoScalingGroupName: group.name, DesiredConfiguration: configuration }));
  };
  return {
    board,
    rollouts,
    noted,
    start,
    cancel: () =>
      cancelRollouts(
        rollouts,
        board,
        { environment: ENVIRONMENT, request: { onCancel } } as ReleaseOrder,
        ports,
      ),
  };
}

const web = () => new FakeGroup("eu-west-1", "web");
const worker = () => new FakeGroup("us-east-1", "worker");

describe("a rollout that is cancelled", () => {
  test("before any target was ready says so", async () => {
    expect((await stage([]).cancel()).message).toBe("Cancelled before production was rolled out");
  });

  test("before any refresh was started changes nothing", async () => {
    const groups = [web(), worker()];
    const error = await stage(groups).cancel();
    expect(error).toBeInstanceOf(CancelledError);
    expect(error).toMatchObject({
      message: "Cancelled while eu-west-1/web, us-east-1/worker were being rolled out",
      state: "No instance refresh was started. Nothing was recorded.",
    });
    expect(groups.map(({ rollbacks }) => rollbacks)).toStrictEqual([0, 0]);
  });

  test("has each that was begun rolled back, and names those only", async () => {
    const groups = [web(), worker()] as const;
    const { start, cancel } = stage(groups);
    start(1);
    expect(await cancel()).toMatchObject({
      message: "Cancelled while us-east-1/worker was being rolled out",
      state:
        "The instance refresh worker-1 is being rolled back; AWS finishes that by itself. Nothing was recorded.",
    });
    expect(groups.map(({ rollbacks }) => rollbacks)).toStrictEqual([0, 1]);
  });

  test("leaves what was begun where the user wants that", async () => {
    const groups = [web(), worker()] as const;
    const { start, cancel } = stage(groups, "leave");
    start(0);
    start(1);
    expect((await cancel()).state).toBe(
      "The instance refresh web-1 goes on. The instance refresh worker-1 goes on, as `on-cancel: leave` says. Nothing was recorded.",
    );
    expect(groups.map(({ rollbacks }) => rollbacks)).toStrictEqual([0, 0]);
  });

  test("starts the way back of one that had finished, and notes it", async () => {
    const groups = [web(), worker()] as const;
    const { start, cancel, board, rollouts, noted } = stage(groups);
    start(0);
    start(1);
    groups[0].look("web-1");
    const [first] = rollouts;
    if (first === undefined) throw new Error("no rollout");
    board.update(first.state.target, { ended: "released" });
    expect((await cancel()).state?.split("\n")).toStrictEqual([
      "eu-west-1/web had finished; the instance refresh web-2 takes it back, which AWS finishes by itself.",
      "The instance refresh worker-1 is being rolled back; AWS finishes that by itself. Nothing was recorded.",
    ]);
    expect(groups[0].started[1]?.DesiredConfiguration).toStrictEqual(savedConfiguration(first.state));
    expect(noted).toContainEqual({ region: "eu-west-1", autoScalingGroup: "web", id: "web-2", isBack: true });
  });

  test("does not send forward again what is on its way back", async () => {
    const group = web();
    const { start, cancel, board, rollouts } = stage([group]);
    start(0);
    group.look("web-1");
    const [rollout] = rollouts;
    if (rollout === undefined) throw new Error("no rollout");
    // It was released, the check at the end did not pass, and the way back is under way as the cancel comes.
    rollout.onStarted(
      group.start({ AutoScalingGroupName: "web", DesiredConfiguration: savedConfiguration(rollout.state) }),
    );
    board.update(rollout.state.target, { ended: "failed" });
    const error = await cancel();
    expect(group.rollbacks).toBe(0);
    expect(error.state).toContain("web-2");
  });

  test.each<[what: string, prepare: (group: FakeGroup) => void, state: string]>([
    [
      "that had ended",
      (group) => group.look("web-1"),
      "The instance refresh web-1 had ended already (Successful); web-2 takes eu-west-1/web back, which AWS finishes by itself. Nothing was recorded.",
    ],
    [
      "that AWS had rolled back",
      (group) => {
        group.rollBack();
        group.look("web-1");
        group.look("web-1");
        group.rollbacks = 0;
      },
      "The instance refresh web-1 had been rolled back already. Nothing was recorded.",
    ],
    [
      "that AWS cannot roll back",
      (group) => {
        group.onRollback = new RemoteError("cannot", { code: "IrreversibleInstanceRefresh" });
      },
      "The instance refresh web-1 cannot be rolled back by AWS and goes on. Nothing was recorded.",
    ],
    [
      "whose way back AWS refuses",
      (group) => {
        group.onRollback = new RemoteError("The role may not", { code: "AccessDenied" });
      },
      "eu-west-1/web could not be asked to go back: The role may not. Nothing was recorded.",
    ],
  ])("says so of one %s", async (_, prepare, state) => {
    const group = web();
    const { start, cancel } = stage([group]);
    start(0);
    prepare(group);
    expect((await cancel()).state).toBe(state);
  });
});
