import type { ChildProcess } from "node:child_process";
import { expect, test } from "vitest";
import { Stage } from "./stage.ts";

/**
 * A deploy killed (SIGKILL, and no post step) at each single request that it makes, before the request has any effect or
 * after it had it and before the answer is read; then the same job again. Each must end as the undisturbed run does.
 */

const SPEED = 600;

async function requestsOfADeploy(): Promise<number> {
  await using stage = await Stage.open({ ssh: false, speed: SPEED });
  await stage.seedImage();
  return (await stage.push("develop")).requests.length;
}

/** Kills a deploy at its request number `index`, runs it again, and tells what differs from an undisturbed end. */
async function killedAt(index: number, kind: "drop-before" | "drop-after"): Promise<string[]> {
  await using stage = await Stage.open({ ssh: false, speed: SPEED });
  const image = await stage.seedImage();
  await stage.copy.push("develop");
  const { sandbox } = stage;
  const mark = sandbox.log.entries.length;
  sandbox.faults.inject({}, { kind }, { skip: index });
  let child: ChildProcess | undefined;
  const watch = setInterval(() => {
    if (sandbox.log.entries.length > mark + index) child?.kill("SIGKILL");
  }, 1);
  await stage.run({ runId: 10, post: false, onStarted: (started) => (child = started) });
  clearInterval(watch);
  sandbox.faults.clear();
  const request = sandbox.log.entries[mark + index];
  const again = await stage.run({ runId: 10, attempt: 2 });
  const template = sandbox.ec2.launchTemplates().find((each) => each.name === "web-dev");
  const found = {
    code: again.code,
    records: stage.records(),
    locks: stage.locks(),
    versions: sandbox.ec2.launchTemplateVersions(template?.id ?? "").length,
    refreshes: sandbox.autoScaling.refreshes("web-dev").map((refresh) => refresh.status),
    running: stage.running("web-dev"),
  };
  const wanted = {
    code: 0,
    records: ["release/dev/000001"],
    locks: [],
    versions: 2,
    refreshes: ["Successful"],
    running: [image],
  };
  if (JSON.stringify(found) === JSON.stringify(wanted)) return [];
  return [`${kind} at ${request?.service} ${request?.action}: ${JSON.stringify(found)}\n${again.log}`];
}

test(
  "a deploy that is killed at any request is finished by the next attempt, and nothing is doubled",
  { timeout: 300_000 },
  async () => {
    const requests = await requestsOfADeploy();
    const differences: string[] = [];
    for (const kind of ["drop-before", "drop-after"] as const) {
      for (let index = 0; index < requests; index += 1) differences.push(...(await killedAt(index, kind)));
    }
    expect(requests).toBeGreaterThan(15);
    expect(differences).toEqual([]);
  },
);
