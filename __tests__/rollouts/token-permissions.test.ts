import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { KilnError } from "../../src/domain/errors.ts";
import type { ImageId } from "../../src/domain/image.ts";
import type { GitHubToken } from "../../sandbox/github/access.ts";
import { HOME, TOKEN } from "../../sandbox/sandbox.ts";
import { blocksOf, readText } from "../documents/markdown.ts";
import { type Released, type ReleaseOptions, ReleaseStage } from "./release-stage.ts";

/** The permissions in docs/github-token.md: each command runs with exactly these, and not with one of them less. */

type Permissions = Readonly<Record<string, "read" | "write">>;
type Command = "deploy" | "promote" | "rollback" | "bake" | "status" | "prune";

const DOCUMENT = "docs/github-token.md";
const ROLLING = { strategy: "rolling" } as const;
const TARGETS = [{ region: HOME.region, autoScalingGroup: "web" }];
const LOCK = "refs/kiln/lock/release/production";

/** The block that follows the line which names the command. */
function documented(command: Command): Permissions {
  const text = readText(DOCUMENT);
  const named = text.split("\n").findIndex((line) => line.endsWith(":") && line.includes(`\`${command}\``));
  const block = blocksOf(DOCUMENT).find(({ where }) => Number(where.split(":")[1]) > named + 1);
  return (parse(block?.text ?? "") as { readonly permissions: Permissions }).permissions;
}

const RUN: Readonly<
  Record<Exclude<Command, "bake">, (stage: ReleaseStage, options?: ReleaseOptions) => Promise<Released>>
> = {
  deploy: (stage, options) => stage.release(TARGETS, ROLLING, options),
  promote: (stage, options) => stage.promote(TARGETS, ROLLING, options),
  rollback: (stage, options) => stage.rollBack(TARGETS, ROLLING, options),
  status: (stage) => stage.status(TARGETS),
  prune: (stage) => stage.prune(TARGETS),
};

/** Two releases, one in qa, and the lock of a run that was killed. */
async function open(permissions: Permissions): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  await stage.record("production", 1, stage.newImage);
  await stage.record("production", 2, stage.oldImage as ImageId);
  await stage.record("qa", 1, stage.newImage);
  await stage.abandonLock(LOCK);
  const { actions, contents } = permissions;
  const token: GitHubToken = {
    login: "octocat",
    permissions: {
      metadata: "read",
      contents: contents ?? "none",
      actions: actions === undefined ? "none" : "read",
    },
  };
  (stage.sandbox.tokens as Record<string, GitHubToken>)[TOKEN] = token;
  return stage;
}

/** One permission less. */
function less(permissions: Permissions, name: string): Permissions {
  const { [name]: level, ...others } = permissions;
  return level === "write" ? { ...others, [name]: "read" } : others;
}

const COMMANDS = Object.keys(RUN) as readonly (keyof typeof RUN)[];
const EACH = COMMANDS.flatMap((command) =>
  Object.keys(documented(command)).map((permission) => ({ command, permission })),
);

describe("the job's token", () => {
  test.each(COMMANDS.map((command) => ({ command })))("is enough for $command", async ({ command }) => {
    await using stage = await open(documented(command));
    const { error } = await RUN[command](stage);
    expect(error).toBeUndefined();
    const refused = stage.sandbox.log.entries.filter(({ status }) => status === 403);
    expect(refused).toEqual([]);
  });

  test.each(EACH)("is not enough for $command with less $permission", async ({ command, permission }) => {
    await using stage = await open(less(documented(command), permission));
    const before = stage.sandbox.log.entries.length;
    const { error } = await RUN[command](stage, { timeout: 20_000 });
    expect(error).toBeInstanceOf(KilnError);
    const { message, state, next } = error as KilnError;
    const said = [message, state, next].join("\n");
    const level = documented(command)[permission];
    expect(said).toContain(`permissions: ${permission}: ${level}`);
    const written = stage.sandbox.log.since(before).filter(({ writes, status }) => writes && status < 300);
    // To wait for a lock, one has to have a tag object to put there.
    expect(written.map(({ action }) => action)).toEqual(
      permission === "actions" ? ["POST /repos/acme/web/git/tags"] : [],
    );
  });

  test("that expires while the refresh runs: nothing is recorded, and the next run records without a second refresh", async () => {
    await using stage = await ReleaseStage.open();
    stage.addGroup("web", 2);
    const { tokens, clock, autoScaling } = stage.sandbox;
    const token = tokens[TOKEN];
    if (token === undefined) throw new Error("no token");
    const expire = (expired: boolean): void => {
      (tokens as Record<string, GitHubToken>)[TOKEN] = { ...token, expired };
    };
    clock.after(60_000, () => expire(true));
    const first = await stage.release(TARGETS, ROLLING);
    expect(first.error).toMatchObject({
      message: expect.stringContaining("does not accept the token") as string,
    });
    expect(stage.running("web")).toEqual([stage.newImage, stage.newImage]);
    // The post step has the same token, so that the lock is still there when the run has ended.
    stage.sandbox.repository.setRunStatus(first.run, "completed", "failure");
    expect([stage.records(), stage.locks()]).toEqual([[], [LOCK.slice("refs/".length)]]);
    expire(false);
    const again = await stage.release(TARGETS, ROLLING);
    expect(again.error).toBeUndefined();
    expect(stage.records()).toEqual(["release/production/000001"]);
    expect(stage.locks()).toEqual([]);
    expect(autoScaling.refreshes("web").map(({ status }) => status)).toEqual(["Successful"]);
  });

  test("needs for a bake what it needs for a release: its lock is one, too", () => {
    expect(documented("bake")).toEqual(documented("deploy"));
    const { contents, actions } = documented("deploy");
    // The sandbox's own token, which every scenario with a bake runs with.
    expect({ contents, actions }).toEqual({ contents: "write", actions: "read" });
  });
});
