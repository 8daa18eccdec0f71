import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { reportError } from "../../src/action/boundary.ts";
import { createLog } from "../../src/action/log.ts";
import type { AwsClients } from "../../src/aws/clients.ts";
import { runSmokeTest } from "../../src/commands/smoke-test.ts";
import { InvalidInputError, KilnError, RemoteError, RolloutError } from "../../src/domain/errors.ts";
import type { Log } from "../../src/domain/ports.ts";
import { bake } from "../../src/image/bake.ts";
import { retirementTable } from "../../src/image/retirement-table.ts";
import { describeChanges } from "../../src/release/changes.ts";
import { readLedger } from "../../src/release/ledger.ts";
import { statusTable } from "../../src/release/status-table.ts";
import { takeLock } from "../../src/release/lock.ts";
import { explainFailure } from "../../src/rollout/explain.ts";
import { ScriptedPrograms, VirtualClock } from "../image/programs.ts";
import { InMemoryRepository } from "../release/in-memory-repository.ts";
import { COMMIT } from "../release/records.ts";
import { commandsIn, type RunnerCommand } from "./runner-commands.ts";
import { hostile, told, WEAPONS } from "./texts.ts";
import { Secrets } from "../../src/domain/secrets.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kiln-log-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a piece of work prints, as the runner reads it. */
async function printed(
  work: () => unknown,
): Promise<{ readonly text: string; readonly commands: RunnerCommand[] }> {
  const pieces: string[] = [];
  const { exitCode } = process;
  const write = vi.spyOn(process.stdout, "write").mockImplementation((piece) => {
    pieces.push(String(piece));
    return true;
  });
  try {
    await work();
  } finally {
    write.mockRestore();
    process.exitCode = exitCode;
  }
  const text = pieces.join("");
  return { text, commands: commandsIn(text) };
}

const names = (commands: readonly RunnerCommand[]): string[] => commands.map(({ name }) => name);

/** A log that counts what it was asked for: each is one command of the runner, and nothing else is. */
class CountingLog implements Log {
  readonly #log = createLog();
  readonly commands: string[] = [];
  #notices = 0;
  #warnings = 0;

  info = (message: string): void => this.#log.info(message);

  debug = (message: string): void => {
    this.commands.push("debug");
    this.#log.debug(message);
  };

  notice = (message: string): void => {
    this.#notices += 1;
    if (this.#notices <= 10) this.commands.push("notice");
    this.#log.notice(message);
  };

  warning = (message: string): void => {
    this.#warnings += 1;
    if (this.#warnings <= 10) this.commands.push("warning");
    this.#log.warning(message);
  };

  group = async <T>(title: string, work: () => Promise<T>): Promise<T> => {
    this.commands.push("group");
    try {
      return await this.#log.group(title, work);
    } finally {
      this.commands.push("endgroup");
    }
  };
}

/** Every place that a text from outside comes to the log by. */
const CHANNELS: Readonly<Record<string, (text: string, log: CountingLog) => unknown>> = {
  "a line": (text, log) => log.info(text),
  "a line behind words": (text, log) => log.info(`No environment lists the branch ${text}`),
  "a line for debugging": (text, log) => log.debug(text),
  "a notice": (text, log) => log.notice(text),
  "notices after the tenth": (text, log) => {
    for (let count = 0; count < 12; count += 1) log.notice(text);
  },
  "warnings after the tenth": (text, log) => {
    for (let count = 0; count < 12; count += 1) log.warning(text);
  },
  "a group": (text, log) => log.group(text, async () => log.info(text)),
  "an error, its state, next step and cause": (text, log) => {
    log.commands.push("error", "debug", "debug");
    const cause = new RemoteError(text, { code: text, cause: new Error(text) });
    reportError(new KilnError(text, { state: text, next: text, cause }));
  },
  "an unexpected error": (text, log) => {
    log.commands.push("error");
    reportError(new Error(text));
  },
  "what is no error": (text, log) => {
    log.commands.push("error");
    reportError(text);
  },
  "problems of a config file": (text, log) => {
    log.commands.push("error", "error", "error");
    reportError(
      new InvalidInputError([
        { where: `${text}:1:2`, message: text },
        { where: `input ${text}`, message: text },
      ]),
    );
  },
  "more problems than are shown": (text, log) => {
    log.commands.push(...Array.from({ length: 51 }, () => "error"));
    reportError(new InvalidInputError(Array.from({ length: 60 }, () => ({ where: text, message: text }))));
  },
  "the output of Packer": async (text, log) => {
    const programs = new ScriptedPrograms();
    programs.output = [text, `    amazon-ebs.web: ${text}`, `==> amazon-ebs.web: Launching a source ${text}`];
    programs.exitCode = 1;
    const failed = bake(
      {
        recipe: { template: "web.pkr.hcl", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
        secretVars: {},
        sensitive: new Set(),
        imageName: text,
        version: text,
        commit: COMMIT,
        tags: { branch: text },
        digest: `sha256:${"a".repeat(64)}`,
        mark: text,
        region: "eu-west-1",
      },
      { packer: { version: "1.16.0", hasInit: true }, call: { args: [], env: {}, secretFile: undefined } },
      {
        clock: new VirtualClock(),
        log,
        subprocess: programs,
        folder,
        temporaryFolder: folder,
        signal: new AbortController().signal,
        token: "t",
        secrets: new Secrets(),
        onStarted: () => undefined,
        onMade: () => undefined,
      },
    );
    log.commands.push("error");
    await failed.catch(reportError);
  },
  "the output of a smoke test": (text, log) => {
    const programs = new ScriptedPrograms();
    programs.output = [text, ...text.split("\n")];
    return runSmokeTest(
      { command: [text, text], timeout: 300 },
      {
        environment: text,
        target: { region: text, autoScalingGroup: text },
        release: text,
        imageId: text,
        checkpoint: 100,
        instances: [{ id: text, privateAddress: text, publicAddress: text }],
      },
      {
        subprocess: programs,
        clock: new VirtualClock(),
        log,
        signal: new AbortController().signal,
        workspace: folder,
        secrets: new Secrets(),
        unfinished: { programStarted: () => undefined, programEnded: () => undefined },
      },
    );
  },
  "activities, health and console of a failed rollout": async (text, log) => {
    const lines = await explainFailure(answering(text), {
      target: { region: "eu-west-1", autoScalingGroup: text },
      targetGroupArns: [`arn/${text}/1`],
      since: new Date(0),
    });
    for (const line of lines) log.info(line);
    log.commands.push("error");
    reportError(new RolloutError(text, { rolledBack: true, state: lines.join("\n") }));
  },
  "tags that are no records": (text, log) => {
    const tag = { sha: COMMIT, target: COMMIT, message: `${text}\n\nKiln-Record: ${text}` };
    const repository = new InMemoryRepository();
    repository.newestTags = async (prefixes) =>
      new Map(
        prefixes.map((prefix) => [
          prefix,
          [
            { name: text, tag },
            { name: "000001", tag },
          ],
        ]),
      );
    return readLedger(repository, { name: "web", recordPrefix: "release" }, ["dev"], log);
  },
  "the holder of a lock": async (text, log) => {
    const repository = new InMemoryRepository();
    repository.createRef = async () => "exists";
    repository.readRef = async () => COMMIT;
    repository.readTag = async () => ({
      sha: COMMIT,
      target: COMMIT,
      message: `Run-Id: 7\nAttempt: 1\nRun: ${text}\nActor: ${text}`,
    });
    const what = { ref: "refs/kiln/lock/dev", name: text, tag: "kiln-lock-dev" };
    const run = { id: "1", attempt: "1", url: text, actor: text };
    const tools = { repository, clock: new VirtualClock(), log, signal: new AbortController().signal };
    log.commands.push("error");
    await takeLock({ what, commit: COMMIT, run, timeout: 1000 }, tools).catch(reportError);
  },
  tables: (text, log) => {
    const image = {
      region: text,
      imageId: "ami-0" as const,
      name: text,
      action: "waiting" as const,
      why: text,
    };
    const prune = { kept: 0, gigabytes: 0, images: [{ ...image, days: 1, gigabytes: 1, failed: text }] };
    const status = { environment: text, release: text, version: text, actor: text, drift: [text] };
    for (const line of retirementTable(prune, true).split("\n")) log.info(line);
    for (const line of statusTable([status]).split("\n")) log.info(line);
  },
  "what a release changes": (text, log) => {
    const lines = describeChanges({
      since: text,
      sameContent: false,
      commits: {
        added: 1,
        takenBack: 0,
        listed: "added",
        newest: [{ commit: text, subject: text }],
        url: text,
      },
    });
    for (const line of lines) log.info([line.text, ...line.below].join("\n"));
  },
};

function answering(text: string): AwsClients {
  const answers: Readonly<Record<string, unknown>> = {
    DescribeScalingActivities: {
      Activities: [
        {
          StatusCode: "Failed",
          Description: `Launching a new EC2 instance: ${text}`,
          StatusMessage: text,
          Cause: text,
          StartTime: new Date(),
        },
        {
          StatusCode: "Successful",
          Description: "Launching a new EC2 instance: i-0a",
          StartTime: new Date(),
        },
        {
          StatusCode: "Successful",
          Description: "Terminating EC2 instance: i-0a",
          Cause: text,
          StartTime: new Date(),
        },
      ],
    },
    DescribeTargetHealth: {
      TargetHealthDescriptions: [
        { Target: { Id: text }, TargetHealth: { State: "unhealthy", Reason: text, Description: text } },
      ],
    },
    GetConsoleOutput: { Output: Buffer.from(`${text}\n${text}`).toString("base64") },
  };
  const client = async () => ({
    send: async (command: { readonly constructor: { readonly name: string } }) =>
      answers[command.constructor.name.replace(/Command$/, "")],
  });
  return { autoScaling: client, ec2: client, elasticLoadBalancing: client } as unknown as AwsClients;
}

describe("no text from outside gives the runner a command", () => {
  test.each(Object.keys(CHANNELS))("by %s", async (channel) => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.constantFrom(...WEAPONS), hostile), async (text) => {
        const log = new CountingLog();
        const { commands } = await printed(() => CHANNELS[channel]?.(text, log));
        expect(names(commands).toSorted()).toEqual(log.commands.toSorted());
      }),
      { numRuns: 100 },
    );
  });

  test("nor does any weapon, anywhere", async () => {
    let tried = 0;
    for (const [channel, send] of Object.entries(CHANNELS))
      for (const text of WEAPONS) {
        const log = new CountingLog();
        const { commands } = await printed(() => send(text, log));
        expect(names(commands).toSorted(), `${channel}: ${JSON.stringify(text)}`).toEqual(
          log.commands.toSorted(),
        );
        tried += 1;
      }
    told("channels of the log with a weapon", tried);
  });

  test("the runner's own way of reading finds what would be one", () => {
    const found = commandsIn(
      "a\n  ::add-mask::x\nb ##[group]c\r::error file=a::b%0Ac\n\u0085::debug::d\n: ::debug::e",
    );
    expect(found).toEqual([
      { name: "add-mask", data: "x" },
      { name: "group", data: "c" },
      { name: "error", data: "b\nc" },
      { name: "debug", data: "d" },
    ]);
  });
});

describe("the log's sizes", () => {
  test("a line, an annotation and a list of problems are cut, and say so", async () => {
    const long = "x".repeat(100_000);
    const { text } = await printed(() => {
      const log = createLog();
      log.info(long);
      log.notice(long);
      reportError(
        new InvalidInputError(Array.from({ length: 5000 }, () => ({ where: "input a", message: "b" }))),
      );
    });
    expect(text.length).toBeLessThan(50_000);
    expect(text.match(/x… \(cut\)$/gm)).toHaveLength(2);
    expect(text).toContain("… and 4950 more");
  });
});
