import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TOKEN } from "../../sandbox/sandbox.ts";
import { commandsIn } from "../hostile/runner-commands.ts";
import { WEAPONS } from "../hostile/texts.ts";
import { Stage } from "./stage.ts";

/** Runs that a stranger's code or texts have a part in. */

/** All weapons that a line can hold, and a mask that would show if it were taken. */
const SAID = `${WEAPONS.filter((text) => !/[\0\r\n]/.test(text)).join(" ")} ##[add-mask]owned`;

/** The commands that a run gave the runner, but for the annotations that a text may be in. */
function otherCommands(log: string): string[] {
  return commandsIn(log)
    .filter(({ name }) => !["debug", "notice", "warning", "error", "group", "endgroup"].includes(name))
    .map(({ name, data }) => `${name} ${data}`);
}

/** A PATH with git and a Packer that prints weapons and fails. */
function hostilePacker(stage: Stage): string {
  const folder = join(stage.folder, "bin");
  mkdirSync(folder);
  for (const name of ["git", "sh", "cat"])
    symlinkSync(execFileSync("which", [name], { encoding: "utf8" }).trim(), join(folder, name));
  writeFileSync(join(stage.folder, "output"), `${WEAPONS.join("\n")}\n${WEAPONS.join("\n    ")}\n`);
  const script = `case "$1" in version) echo "Packer v1.16.0";; build) cat ${join(stage.folder, "output")}; exit 1;; esac`;
  writeFileSync(join(folder, "packer"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, "packer"), 0o755);
  return folder;
}

describe("a stranger's pull request", () => {
  const payload = {
    pull_request: { head: { repo: { full_name: "mallory/web" } } },
    workflow_run: { event: "pull_request", head_repository: { full_name: "mallory/web" } },
  };

  test.each([
    ["pull_request_target", "true", "Kiln does not run on pull_request_target"],
    ["workflow_run", "true", "This workflow_run was started by the code of mallory/web"],
    ["pull_request", "false", "A pull request of mallory/web may not deploy"],
  ])("by %s with dry-run: %s is refused before anything is asked", async (event, dryRun, message) => {
    await using stage = await Stage.open({ ssh: false });
    // What would be read is wrong: that it is not told shows that it was not.
    await stage.commit("Break it", { ".github/kiln.yml": "hunter2: 1\n" });
    const result = await stage.run({ event, payload, inputs: { environment: "dev", "dry-run": dryRun } });
    expect(result.code).toBe(1);
    expect(result.log).toContain(message);
    expect(result.log).not.toContain("hunter2");
    expect(result.outputs["outcome"]).toBe("failed");
    expect(result.requests).toEqual([]);
    expect(result.summary).toContain("Nothing was changed.");
  });
});

test("texts of Packer, of a commit, of an actor, of tags and of AWS are texts", async () => {
  await using stage = await Stage.open({ ssh: false });
  const commit = await stage.commit(SAID, { "app/note": "x" });
  await stage.copy.push("main");
  for (let number = 1; number <= 12; number += 1)
    stage.git(
      "-c",
      "user.name=M",
      "-c",
      "user.email=m@x",
      "tag",
      "-a",
      `release/dev/00000${number}`.slice(0, 18),
      "-f",
      "-m",
      `${SAID}\n\nKiln-Record: ${SAID}`,
      commit,
    );
  const job = {
    env: { PATH: hostilePacker(stage), GITHUB_ACTOR: SAID },
    inputs: { version: "::add-mask::owned ##[add-mask]owned | `x` <b>" },
  };
  const failed = await stage.push("develop", job);
  expect(failed.code).toBe(1);
  expect(failed.log).toContain("The bake failed: packer build ended with 1");
  expect(failed.log).toContain("is no record: ");
  stage.sandbox.faults.inject(
    { action: "DescribeImages" },
    { kind: "reply", status: 400, code: "InvalidParameterValue", message: `${SAID}\n::add-mask::owned` },
    { times: Infinity },
  );
  const refused = await stage.run({ ...job, ref: "refs/heads/develop" });
  expect(refused.code).toBe(1);
  expect(refused.log).toContain("InvalidParameterValue");
  // Kiln's own: the token and the job's keys.
  const { AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "" } = stage.sandbox.environment();
  const own = [TOKEN, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY].map((secret) => `add-mask ${secret}`);
  for (const { log } of [failed, refused]) {
    const given = otherCommands(log);
    expect(given.filter((command) => !own.includes(command))).toEqual([]);
    expect(given.length).toBeGreaterThan(0);
  }
});
