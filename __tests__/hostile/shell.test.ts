import { mkdtempSync, readdirSync, readFileSync, rmSync, globSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createSubprocess } from "../../src/action/subprocess.ts";
import { wallClock } from "../../src/action/wall-clock.ts";
import { runSmokeTest } from "../../src/commands/smoke-test.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ROOT } from "../documents/markdown.ts";
import { KeptLog } from "../image/programs.ts";
import { Secrets } from "../../src/domain/secrets.ts";

/** The product's sources without comments of the kind that a shell could stand in. */
const sources = globSync("src/**/*.ts", { cwd: ROOT }).map((path) => ({
  path,
  text: stripTypeScriptTypes(readFileSync(join(ROOT, path), "utf8")).replace(/^\s*(?:\/\/|\/?\*).*$/gm, ""),
}));

test("no source starts a shell", () => {
  const shells =
    /\bshell\s*:|\bexecSync\b|\bexecFileSync\b|\bspawnSync\b|\bexecFile\b|\bfork\s*\(|["'`](?:\/bin\/)?(?:ba|da|z)?sh["'`]|\beval\s*\(|new Function\b|node:vm/;
  expect(sources.length).toBeGreaterThan(80);
  expect(sources.filter(({ text }) => shells.test(text)).map(({ path }) => path)).toEqual([]);
});

test("programs are started in one place, by name and arguments", () => {
  const starting = sources.filter(({ text }) => /child_process|@actions\/exec/.test(text));
  expect(starting.map(({ path }) => path)).toEqual(["src/action/subprocess.ts"]);
  expect(starting[0]?.text.match(/from "node:child_process"|import \{ spawn \}/g)?.length).toBeGreaterThan(0);
  expect(starting[0]?.text).not.toMatch(/import \{[^}]*\bexec\b[^}]*\} from "node:child_process"/);
});

test("commands of the runner are given in the action's own folder only", () => {
  const printing = sources.filter(({ text }) =>
    /core\.info\(|\bconsole\.(?:log|error|warn|info)|process\.stdout/.test(text),
  );
  expect(printing.map(({ path }) => path)).toEqual(["src/action/workflow.ts"]);
});

test("what a shell would run is an argument of a smoke test", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kiln-shell-"));
  try {
    const text = `image: { template: web.pkr.hcl }
environments:
  dev:
    targets: [{ region: eu-west-1, auto-scaling-group: web }]
    rollout: { smoke-test: { command: [printf, "%s\\n", "$(touch owned)", "\`touch owned\`", "; touch owned", "*", "$HOME", "a\\nb"] } }
`;
    const test = loadConfig(text, "kiln.yml", "web").environments[0]?.rollout.smokeTest;
    if (test === undefined) throw new Error("there is no smoke test");
    const log = new KeptLog();
    const result = await runSmokeTest(
      test,
      {
        environment: "$(touch owned)",
        target: { region: "eu-west-1", autoScalingGroup: "`touch owned`" },
        release: "; touch owned",
        imageId: "ami-0",
        checkpoint: 100,
        instances: [{ id: "i-1; touch owned", privateAddress: "$(touch owned)", publicAddress: undefined }],
      },
      {
        subprocess: createSubprocess(process.env, folder),
        clock: wallClock,
        log,
        signal: new AbortController().signal,
        workspace: folder,
        secrets: new Secrets(),
        unfinished: { programStarted: () => undefined, programEnded: () => undefined },
      },
    );
    expect(result).toStrictEqual({ kind: "passed" });
    const said = log.lines.filter((line) => line.includes(" | "));
    expect(said).toEqual(
      ["$(touch owned)", "`touch owned`", "; touch owned", "*", "$HOME", "a", "b"].map(
        (word) => `  smoke test | ${word}`,
      ),
    );
    expect(readdirSync(folder).filter((name) => !name.endsWith(".log"))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
