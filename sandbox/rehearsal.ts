/**
 * The main job, as people see it: a repository with the example application, pushes to `develop`, `stage` and `main`
 * one after the other, and the built action run each time as a runner would. One bake, three releases, one AMI. Then
 * the way back: a bad release to dev, and the rollback by hand.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
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
  const runs = { count: 0, failed: [] as string[] };
  for (const branch of ["develop", "stage", "main"]) await push(sandbox, copy, branch, runs);
  await showRecords(sandbox);

  await writeFile(join(copy.folder, "app/public/index.html"), "<h1>Nobody wanted this</h1>\n");
  await copy.commit("Change the page");
  await push(sandbox, copy, "develop", runs);
  await job(sandbox, copy, runs, "Run workflow: roll dev back", "refs/heads/main", {
    command: "rollback",
    environment: "dev",
    to: "previous",
    reason: "The page is wrong",
  });
  await job(sandbox, copy, runs, "Run workflow: status", "refs/heads/main", { command: "status" });
  await showRecords(sandbox);
  if (runs.failed.length > 0) {
    print(`\nFailed: ${runs.failed.join(", ")}`);
    process.exitCode = 1;
  }
} finally {
  await sandbox.close();
  await rm(folder, { recursive: true, force: true });
}

interface Runs {
  count: number;
  readonly failed: string[];
}

async function push(sandbox: Sandbox, copy: WorkingCopy, branch: string, runs: Runs): Promise<void> {
  await copy.push(branch);
  await job(sandbox, copy, runs, `git push origin ${branch}`, `refs/heads/${branch}`, {});
}

/** One job, with its log and its summary as its page shows them. */
async function job(
  sandbox: Sandbox,
  copy: WorkingCopy,
  runs: Runs,
  title: string,
  ref: string,
  inputs: Readonly<Record<string, string>>,
): Promise<void> {
  heading(title);
  runs.count += 1;
  const started = Date.now();
  const log = new JobLog();
  const result = await runJob(sandbox, folder, {
    workspace: copy.folder,
    ref,
    event: inputs["command"] === undefined ? "push" : "workflow_dispatch",
    commit: await copy.head(),
    runId: runs.count,
    // The sandbox's clock runs fast, so the action asks often.
    inputs: { "poll-interval": "250ms", ...inputs },
    onOutput: (output) => {
      for (const line of log.read(output)) print(line);
    },
  });
  heading(`The job's summary (exit ${result.code} after ${((Date.now() - started) / 1000).toFixed(1)} s)`);
  print(result.summary);
  if (result.code !== 0) runs.failed.push(title);
}

/** What plain git says runs where, beside what the groups run. */
async function showRecords(sandbox: Sandbox): Promise<void> {
  const format = "%(refname:short) %(contents:trailers:key=Image,valueonly)";
  heading(`git for-each-ref --format='${format}' 'refs/tags/release/**'`);
  const { stdout } = await run("git", ["for-each-ref", `--format=${format}`, "refs/tags/release/**"], {
    cwd: sandbox.repository.path,
  });
  print(stdout.replaceAll("\n\n", "\n").trim());
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
