import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { CancelledError, type RemoteError } from "../../src/domain/errors.ts";
import { createOctokit } from "../../src/github/client.ts";
import { createRepository, type Repository } from "../../src/github/repository.ts";

/** What becomes of a request that GitHub answers badly, late or not at all; waits are only noted, time-outs are short. */

const SHA = "0123456789abcdef0123456789abcdef01234567";
type Say = (response: ServerResponse, request: IncomingMessage) => void;

let server: Server;
let waits: number[];
let notices: string[];
let now: number;
/** Requests that came in. */
let asked: number;

const answer =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Say =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
const FOUND = answer(200, { object: { sha: SHA } });
const SLOW_DOWN = { message: "You have exceeded a secondary rate limit." };

/** A repository whose requests are answered in this order, the last answer for all that follow. */
async function open(
  script: readonly Say[],
  options: { readonly signal?: AbortSignal; readonly patience?: number } = {},
): Promise<Repository> {
  [waits, notices, now, asked] = [[], [], Date.parse("2026-11-21T12:00:00Z"), 0];
  server = createServer((request, response) => {
    const say = script[Math.min(asked, script.length - 1)];
    asked += 1;
    say?.(response, request);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const octokit = createOctokit({
    token: "t",
    apiUrl: `http://127.0.0.1:${port}`,
    userAgent: "test",
    answerWithin: 200,
    random: () => 0.5,
    clock: {
      now: () => new Date(now),
      sleep: async (milliseconds, signal) => {
        signal?.throwIfAborted();
        waits.push(milliseconds);
        now += milliseconds;
      },
    },
    log: { debug: () => undefined, notice: (message) => void notices.push(message) },
    ...options,
  });
  return createRepository(octokit, "acme/web");
}

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});

const failure = async (work: Promise<unknown>): Promise<RemoteError> =>
  work.then(
    () => expect.fail("it went well"),
    (error: unknown) => error as RemoteError,
  );

describe("a request to GitHub", () => {
  test.each<[string, Say]>([
    ["is not answered", () => undefined],
    ["is answered so far, and no further", (response) => void response.writeHead(200).write("{")],
    ["is reset", (response) => void response.socket?.destroy()],
    [
      "breaks off in its answer",
      (response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": "900" });
        response.write('{"object"', () => response.socket?.destroy());
      },
    ],
    ["is answered with 502", answer(502, { message: "Bad Gateway" })],
  ])("that %s is sent again", async (_, say) => {
    const repository = await open([say, say, FOUND]);
    expect(await repository.readRef("refs/tags/x")).toBe(SHA);
    expect(asked).toBe(3);
    expect(waits).toEqual([750, 1500]);
  });

  test("is given up after two minutes", async () => {
    const repository = await open([answer(500, { message: "Server Error" })]);
    const error = await failure(repository.readRef("refs/tags/x"));
    expect(error).toMatchObject({ code: "500", message: "Could not read refs/tags/x in acme/web" });
    expect(error.next).toContain("https://www.githubstatus.com");
    const waited = waits.reduce((sum, wait) => sum + wait, 0);
    expect(waited).toBeGreaterThan(100_000);
    expect(waited).toBeLessThanOrEqual(120_000);
  });

  test("is given up when the run's own time is over", async () => {
    const repository = await open([answer(500, { message: "Server Error" })], { patience: 20_000 });
    await failure(repository.readRef("refs/tags/x"));
    expect(waits.reduce((sum, wait) => sum + wait, 0)).toBeLessThanOrEqual(20_000);
    expect(asked).toBeGreaterThan(2);
  });

  test("that gets no answer says so, and names no status that nobody gave", async () => {
    const repository = await open([(response) => void response.socket?.destroy()], { patience: 2000 });
    const error = await failure(repository.readRef("refs/tags/x"));
    expect(error).toMatchObject({ code: "unreachable", message: "GitHub could not be reached" });
    expect(error.state).toMatch(/^Could not read refs\/tags\/x in acme\/web\. There was no answer: /);
    expect(error.next).toContain("https://www.githubstatus.com");
    expect(`${error.message}${error.state ?? ""}`).not.toContain("500");
  });

  test("that nobody listens for says so", async () => {
    const repository = await open([FOUND], { patience: 2000 });
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
    const error = await failure(repository.readRef("refs/tags/x"));
    expect(error.state).toContain("ECONNREFUSED");
    server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  });

  test.each([400, 401, 403, 404, 409, 410, 422, 451])(
    "that is refused (%i) is not sent again",
    async (status) => {
      const repository = await open([answer(status, { message: "No" })]);
      await failure(repository.createTree({ a: "a" }));
      expect(asked).toBe(1);
      expect(waits).toEqual([]);
    },
  );

  test("that names what was just made is sent again", async () => {
    const unseen = answer(422, { message: "Object does not exist" });
    const repository = await open([unseen, unseen, answer(201, {})]);
    expect(await repository.createRef("refs/tags/x", SHA)).toBe("created");
    expect(waits).toEqual([375, 750]);
  });
});

describe("GitHub's rate limit", () => {
  const reset = (seconds: number): Readonly<Record<string, string>> => ({
    "x-ratelimit-remaining": "0",
    "x-ratelimit-reset": String(Date.parse("2026-11-21T12:00:00Z") / 1000 + seconds),
  });

  test.each<[string, Say, number]>([
    ["retry-after, 403", answer(403, SLOW_DOWN, { "retry-after": "60" }), 63_000],
    ["retry-after, 429", answer(429, { message: "Too Many Requests" }, { "retry-after": "5" }), 5500],
    ["the time of the reset", answer(403, { message: "API rate limit exceeded" }, reset(120)), 126_000],
    ["no time", answer(403, SLOW_DOWN), 63_000],
    ["an error in GraphQL's 200", answer(200, { errors: [SLOW_DOWN] }, { "retry-after": "7" }), 7500],
    [
      "RATE_LIMITED in GraphQL's 200",
      answer(200, { errors: [{ type: "RATE_LIMITED", message: "API rate limit" }] }, reset(30)),
      31_500,
    ],
  ])("is waited for, not a moment less: %s", async (_, say, wait) => {
    const repository = await open([say, answer(200, { data: { repository: {} } })]);
    await repository.newestTags(["refs/tags/release/dev/"], 1);
    expect(waits).toEqual([wait]);
    expect(notices[0]).toContain("GitHub asks to wait");
    expect(notices[0]).toContain(new Date(Date.parse("2026-11-21T12:00:00Z") + wait).toISOString());
  });

  test("that asks for more than five minutes ends the run, which says when", async () => {
    const repository = await open([answer(403, { message: "API rate limit exceeded" }, reset(1800))]);
    const error = await failure(repository.readRef("refs/tags/x"));
    expect(error).toMatchObject({ code: "rate-limit", message: "GitHub's rate limit is used up" });
    expect(error.next).toContain("Run the job again after 2026-11-21T12:30:00.000Z");
    expect(asked).toBe(1);
  });

  test("is waited for by a run that was cancelled only where it tidies up", async () => {
    const abort = new AbortController();
    const cancelled = new CancelledError("The run was cancelled");
    const limited = answer(403, SLOW_DOWN, { "retry-after": "60" });
    const cancels: Say = (response, request) => {
      abort.abort(cancelled);
      limited(response, request);
    };
    const repository = await open([cancels, limited, FOUND], { signal: abort.signal });
    await expect(repository.readRef("refs/tags/x")).rejects.toBe(cancelled);
    expect(await repository.readRef("refs/tags/x")).toBe(SHA);
    expect(waits).toEqual([63_000]);
  });
});

describe("a refusal", () => {
  const forbidden = (accepted: string): Say =>
    answer(
      403,
      { message: "Resource not accessible by integration" },
      { "x-accepted-github-permissions": accepted },
    );

  test.each([
    ["contents=write", ["`permissions: contents: write`", "ruleset"]],
    ["contents=write; contents=write,workflows=write", ["`permissions: contents: write`", "`workflows`"]],
    ["actions=read", ["`permissions: actions: read`"]],
  ])("names the request and the permission: %s", async (accepted, said) => {
    const repository = await open([forbidden(accepted)]);
    const { message, next } = await failure(repository.createTag({ name: "x", message: "x", commit: SHA }));
    expect(message).toBe("The token may not create the tag object x in acme/web");
    for (const words of said) expect(next).toContain(words);
  });
});

describe("a ref", () => {
  const conflict = answer(409, { message: "Conflict" });
  const gone = answer(404, { message: "Not Found" });
  const other = answer(200, { object: { sha: "f".repeat(40) } });

  test("that was created although GitHub says no is ours; another's is not", async () => {
    expect(await (await open([conflict, FOUND])).createRef("refs/tags/x", SHA)).toBe("created");
    expect(await (await open([conflict, other])).createRef("refs/tags/x", SHA)).toBe("exists");
    const taken = answer(422, { message: "Reference already exists" });
    expect(await (await open([taken, gone])).createRef("refs/tags/x", SHA)).toBe("exists");
    const error = await failure((await open([conflict, gone])).createRef("refs/tags/x", SHA));
    expect(error.message).toBe("Could not create refs/tags/x in acme/web");
  });

  test("is deleted when it is gone, whatever GitHub says", async () => {
    await (await open([conflict, gone])).deleteRef("refs/tags/x");
    const error = await failure((await open([conflict, FOUND])).deleteRef("refs/tags/x"));
    expect(error.message).toBe("Could not delete refs/tags/x in acme/web");
  });

  test("is updated when it is there, whatever GitHub says", async () => {
    expect(await (await open([conflict, FOUND])).updateRef("refs/tags/x", SHA)).toBe("updated");
    expect(await (await open([conflict, other])).updateRef("refs/tags/x", SHA)).toBe("refused");
  });
});
