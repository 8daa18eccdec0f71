import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Secrets } from "../../src/domain/secrets.ts";
import { createSubprocess } from "../../src/action/subprocess.ts";
import { wallClock } from "../../src/action/wall-clock.ts";
import { proveSmokeTest, runSmokeTest, type SmokeTestSubject } from "../../src/commands/smoke-test.ts";
import type { SmokeTest } from "../../src/domain/application.ts";
import { CancelledError, KilnError } from "../../src/domain/errors.ts";
import type { Clock, DetachedProgram, Subprocess } from "../../src/domain/ports.ts";
import { KeptLog, ScriptedPrograms } from "../image/programs.ts";

const SUBJECT: SmokeTestSubject = {
  environment: "production",
  target: { region: "eu-west-1", autoScalingGroup: "web" },
  release: "release/production/000043",
  imageId: "ami-0aaaaaaaaaaaaaaaa",
  checkpoint: 10,
  instances: [
    { id: "i-1", privateAddress: "10.0.0.1", publicAddress: "192.0.2.1" },
    { id: "i-2", privateAddress: "10.0.0.2", publicAddress: undefined },
    { id: "i-3", privateAddress: undefined, publicAddress: undefined },
  ],
};
const TEST: SmokeTest = { command: ["script/smoke", "--fast", "a b"], timeout: 300 };
const NAME = "smoke test of eu-west-1/web at 10 %";

/** Time that stands still: what sleeps, sleeps until it is woken by its signal. */
const frozen: Clock & { readonly sleeps: number[] } = {
  sleeps: [],
  now: () => new Date("2026-11-18T10:00:00Z"),
  sleep(milliseconds, signal) {
    this.sleeps.push(milliseconds);
    return new Promise((_, reject) => {
      if (signal?.aborted === true) reject(signal.reason);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  },
};

/** What a post step would be told. */
class NotedPrograms {
  readonly told: string[] = [];
  programStarted = (pid: number): void => void this.told.push(`started ${pid}`);
  programEnded = (pid: number): void => void this.told.push(`ended ${pid}`);
}

/** A program that runs until it is killed. */
class Endless implements Subprocess {
  kills = 0;

  run = () => Promise.reject(new Error("nothing is run here"));

  async start(): Promise<DetachedProgram> {
    const { promise: exit, resolve } = Promise.withResolvers<number>();
    return {
      pid: 4242,
      output: "test.log",
      exit,
      stop: () => {},
      kill: () => {
        this.kills += 1;
        resolve(137);
      },
    };
  }
}

/** Programs that are only started. */
const starting = (start: Subprocess["start"]): Subprocess => ({
  run: () => Promise.reject(new Error("nothing is run here")),
  start,
});

const portsOf = (subprocess: Subprocess, clock: Clock = frozen, signal = new AbortController().signal) => ({
  subprocess,
  clock,
  signal,
  log: new KeptLog(),
  workspace: "/workspace",
  secrets: new Secrets(),
  unfinished: new NotedPrograms(),
});

describe("a smoke test", () => {
  test("that ends with 0 passes, and is told all that it needs", async () => {
    const programs = new ScriptedPrograms();
    programs.output = ["GET / 200"];
    const ports = portsOf(programs);
    expect(await runSmokeTest(TEST, SUBJECT, ports)).toStrictEqual({ kind: "passed" });
    expect(programs.started).toStrictEqual([
      {
        command: "script/smoke",
        args: ["--fast", "a b"],
        options: {
          cwd: "/workspace",
          inherits: "job",
          env: {
            KILN_ENVIRONMENT: "production",
            KILN_TARGET: "eu-west-1/web",
            KILN_RELEASE: "release/production/000043",
            KILN_IMAGE_ID: "ami-0aaaaaaaaaaaaaaaa",
            KILN_CHECKPOINT: "10",
            KILN_INSTANCE_IDS: "i-1 i-2 i-3",
            KILN_INSTANCE_ADDRESSES: "192.0.2.1 10.0.0.2 -",
            KILN_PRIVATE_ADDRESSES: "10.0.0.1 10.0.0.2 -",
          },
          onLine: expect.any(Function),
        },
      },
    ]);
    expect(ports.log.lines).toStrictEqual([
      `Run the ${NAME}, on 3 instances: script/smoke --fast a b`,
      "  smoke test | GET / 200",
      `The ${NAME} passed`,
    ]);
  });

  test.each([1, 3, 137])("that ends with %i does not pass", async (code) => {
    const programs = new ScriptedPrograms();
    programs.exitCode = code;
    const ports = portsOf(programs);
    expect(await runSmokeTest(TEST, SUBJECT, ports)).toStrictEqual({
      kind: "failed",
      why: `the ${NAME} failed with exit code ${code}`,
    });
    expect(ports.log.lines).not.toContain(`The ${NAME} passed`);
  });

  test.each([0, 3])("leaves nothing behind that it started, ended with %i", async (code) => {
    const programs = new ScriptedPrograms();
    programs.exitCode = code;
    await runSmokeTest(TEST, SUBJECT, portsOf(programs));
    expect(programs.kills).toBe(1);
  });

  test("has the time that the user gives it, and is killed after it", async () => {
    const slept: number[] = [];
    const programs = new Endless();
    const clock: Clock = {
      now: () => frozen.now(),
      sleep: async (milliseconds) => {
        slept.push(milliseconds);
      },
    };
    expect(await runSmokeTest({ ...TEST, timeout: 90 }, SUBJECT, portsOf(programs, clock))).toStrictEqual({
      kind: "failed",
      why: `the ${NAME} took longer than 1 min 30 s`,
    });
    expect(slept).toStrictEqual([90_000]);
    expect(programs.kills).toBe(1);
  });

  test("whose program is missing does not pass", async () => {
    const missing = Object.assign(new Error("spawn script/smoke ENOENT"), { code: "ENOENT" });
    const atOnce = starting(() => Promise.reject(missing));
    const later = starting(async () => ({
      pid: 0,
      output: "",
      exit: Promise.reject(missing),
      stop: () => {},
      kill: () => {},
    }));
    for (const subprocess of [atOnce, later]) {
      expect(await runSmokeTest(TEST, SUBJECT, portsOf(subprocess))).toStrictEqual({
        kind: "failed",
        why: `the ${NAME} could not be run: spawn script/smoke ENOENT`,
      });
    }
  });

  test.each<[what: string, line: string]>([
    ["a command", "::error::all is lost"],
    ["an older command", "##[error]all is lost"],
    ["an older command within a line", "well ##[add-mask]a"],
    ["a command after a carriage return", "90 %\r::stop-commands::x"],
    ["a command after another line end", "90 %\u2028::error::x\u0085::error::y"],
  ])("cannot give %s to the runner by what it prints", async (_, line) => {
    const programs = new ScriptedPrograms();
    programs.output = [line];
    const ports = portsOf(programs);
    await runSmokeTest(TEST, SUBJECT, ports);
    // As the runner reads: lines end with either or both; `::` counts at a line's beginning, `##[` anywhere.
    const lines = ports.log.lines.flatMap((text) => text.split(/\r\n|\r|\n/));
    expect(lines.filter((text) => text.trimStart().startsWith("::") || text.includes("##["))).toStrictEqual(
      [],
    );
    expect(ports.log.lines.filter((text) => text.startsWith("  smoke test | ")).length).toBeGreaterThan(0);
  });

  test("has failed if no new instance is in service", async () => {
    const programs = new ScriptedPrograms();
    expect(await runSmokeTest(TEST, { ...SUBJECT, instances: [] }, portsOf(programs))).toStrictEqual({
      kind: "failed",
      why: `the ${NAME} could not be run: no new instance is in service`,
    });
    expect(programs.started).toStrictEqual([]);
  });

  test("ends with the run: killed, with the reason of the cancel", async () => {
    const programs = new Endless();
    const cancel = new AbortController();
    const reason = new CancelledError("cancelled");
    const running = runSmokeTest(TEST, SUBJECT, portsOf(programs, frozen, cancel.signal));
    await Promise.resolve();
    cancel.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(programs.kills).toBe(1);
  });

  test("that cannot be started as the run is cancelled is not to blame", async () => {
    const reason = new CancelledError("cancelled");
    const subprocess = starting(() => Promise.reject(new Error("EAGAIN")));
    await expect(
      runSmokeTest(TEST, SUBJECT, portsOf(subprocess, frozen, AbortSignal.abort(reason))),
    ).rejects.toBe(reason);
  });
});

describe("as a real program", () => {
  let workspace: string;
  let temporaryFolder: string;

  beforeEach(() => {
    workspace = mkdtempSync(join(tmpdir(), "kiln-smoke-"));
    temporaryFolder = mkdtempSync(join(tmpdir(), "kiln-smoke-temp-"));
    mkdirSync(join(workspace, "script"));
    write(
      "script/smoke",
      '#!/bin/sh\necho "$KILN_INSTANCE_ADDRESSES" "$@"\necho ::error::no >&2\nexit 3\n',
      0o755,
    );
    write("script/plain", "#!/bin/sh\n", 0o644);
  });
  afterEach(() => {
    rmSync(workspace, { recursive: true });
    rmSync(temporaryFolder, { recursive: true });
  });

  function write(path: string, text: string, mode: number): void {
    writeFileSync(join(workspace, path), text);
    chmodSync(join(workspace, path), mode);
  }

  const ports = () => ({
    ...portsOf(createSubprocess(process.env, temporaryFolder), wallClock),
    workspace,
  });

  test("a smoke test is found by its path in the repository", async () => {
    const real = ports();
    expect(await runSmokeTest(TEST, SUBJECT, real)).toStrictEqual({
      kind: "failed",
      why: `the ${NAME} failed with exit code 3`,
    });
    expect(real.log.lines.slice(1)).toStrictEqual([
      "  smoke test | 192.0.2.1 10.0.0.2 - --fast a b",
      "  smoke test | ::error::no",
    ]);
  });

  test("a smoke test is found in PATH where it has no folder", async () => {
    const real = ports();
    expect(await runSmokeTest({ command: ["echo", "well"], timeout: 60 }, SUBJECT, real)).toStrictEqual({
      kind: "passed",
    });
    expect(real.log.lines).toContain("  smoke test | well");
  });

  test("two smoke tests at once do not see each other's output", async () => {
    // Two targets come to their checkpoints in the same millisecond.
    using _ = vi.spyOn(Date, "now").mockReturnValue(Date.parse("2026-11-18T10:00:00Z"));
    const [one, other] = [ports(), ports()];
    await Promise.all([
      runSmokeTest({ command: ["sh", "-c", "sleep 0.2; echo one"], timeout: 60 }, SUBJECT, one),
      runSmokeTest({ command: ["sh", "-c", "sleep 0.2; echo other"], timeout: 60 }, SUBJECT, other),
    ]);
    const printed = ({ log }: { log: KeptLog }) =>
      log.lines.filter((line) => line.startsWith("  smoke test | "));
    expect(printed(one)).toStrictEqual(["  smoke test | one"]);
    expect(printed(other)).toStrictEqual(["  smoke test | other"]);
  });

  test("a smoke test that takes too long is killed with all that it started", async () => {
    const real = ports();
    const started = Date.now();
    expect(
      await runSmokeTest({ command: ["sh", "-c", "sleep 30 & sleep 30"], timeout: 1 }, SUBJECT, real),
    ).toStrictEqual({ kind: "failed", why: `the ${NAME} took longer than 1 s` });
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  test.each<[what: string, test: SmokeTest | undefined]>([
    ["no smoke test", undefined],
    ["one in the repository", TEST],
    ["one that the system looks for", { ...TEST, command: ["curl-or-not"] }],
    ["one by its full path", { ...TEST, command: ["/bin/sh", "-c", "true"] }],
  ])("%s is proven before anything is touched", async (_, smokeTest) => {
    await expect(proveSmokeTest(smokeTest, { workspace })).resolves.toBeUndefined();
  });

  test.each(["script/gone", "script/plain", "gone/smoke", "./script/plain"])(
    "%s cannot be run, which is told before anything is touched",
    async (program) => {
      const proof = proveSmokeTest({ ...TEST, command: [program] }, { workspace });
      await expect(proof).rejects.toThrow(
        `The smoke test ${program} cannot be run: it is not there, or not executable`,
      );
      await expect(proof).rejects.toMatchObject({
        state: "Nothing was changed.",
        next: expect.stringContaining("actions/checkout"),
      });
      await expect(proof).rejects.toBeInstanceOf(KilnError);
    },
  );
});
