/**
 * The main job, as people see it: a repository with the example application, pushes to `develop`, `stage` and `main`
 * one after the other, and the built action run each time as a runner would. One bake, three releases, one AMI.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { addGroups, WorkingCopy } from "./example-stage.ts";
import { JobLog } from "./job-log.ts";
import { runJob } from "./runner.ts";
import { startSandbox, type Sandbox } from "./sandbox.ts";

const run = promisify(execFile);
const print = (line: string): boolean => process.stdout.write(`${line}\n`);
const heading = (text: string): boolean => print(`\n\u001B[1m══ ${text} ══\u001B[0m`);

const folder = await mkdtemp(join(tmpdir(), "kiln-rehearsal-"));
const sandbox = await startSandbox({ folder, speed: 120 });
try {
  addGroups(sandbox);
  const copy = await WorkingCopy.create(sandbox, join(folder, "checkout"));
  const failures: string[] = [];
  for (const [index, branch] of ["develop", "stage", "main"].entries()) {
    if (!(await release(sandbox, copy, branch, index + 1))) failures.push(branch);
  }
  await showRecords(sandbox);
  if (failures.length > 0) {
    print(`\nFailed: ${failures.join(", ")}`);
    process.exitCode = 1;
  }
} finally {
  await sandbox.close();
  await rm(folder, { recursive: true, force: true });
}

async function release(sandbox: Sandbox, copy: WorkingCopy, branch: string, runId: number): Promise<boolean> {
  heading(`git push origin ${branch}`);
  await copy.push(branch);
  const started = Date.now();
  const log = new JobLog();
  const result = await runJob(sandbox, folder, {
    workspace: copy.folder,
    ref: `refs/heads/${branch}`,
    commit: await copy.head(),
    runId,
    // The sandbox's clock runs fast, so the action asks often.
    inputs: { "poll-interval": "250ms" },
    onOutput: (output) => {
      for (const line of log.read(output)) print(line);
    },
  });
  heading(`The job's summary (exit ${result.code} after ${((Date.now() - started) / 1000).toFixed(1)} s)`);
  print(result.summary);
  return result.code === 0;
}

/** What plain git says runs where, beside what the groups run. */
async function showRecords(sandbox: Sandbox): Promise<void> {
  const format = "%(refname:short) %(contents:trailers:key=Image,valueonly)";
  heading(`git for-each-ref --format='${format}' 'refs/tags/release/**'`);
  const { stdout } = await run("git", ["for-each-ref", `--format=${format}`, "refs/tags/release/**"], {
    cwd: sandbox.repository.path,
  });
  print(stdout.trim());
  heading("What the Auto Scaling groups run");
  for (const name of ["web-dev", "web-qa", "web-production"]) {
    const members = sandbox.autoScaling
      .group(name)
      .members.filter((member) => member.lifecycleState === "InService");
    const types = new Set(members.map((member) => member.instanceType));
    print(
      `${name}: ${members.length} × ${[...types].join(", ")} on ${[...new Set(members.map((member) => member.imageId))].join(", ")}`,
    );
  }
}
