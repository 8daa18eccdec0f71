import { afterEach, expect, test } from "vitest";
import { idTokenRequest, requestIdToken } from "../../src/action/id-token.ts";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const waits: number[] = [];
const clock = { now: () => new Date(), sleep: async (milliseconds: number) => void waits.push(milliseconds) };
let server: Server | undefined;

afterEach(() => {
  waits.length = 0;
  server?.closeAllConnections();
  server?.close();
});

/** GitHub's end of it: each request is answered by the next of these. */
async function answering(answers: readonly ((response: ServerResponse) => void)[]) {
  const asked: string[] = [];
  let next = 0;
  server = createServer((request, response) => {
    asked.push(`${request.headers.authorization ?? ""} ${request.url ?? ""}`);
    answers[next]?.(response);
    next += 1;
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { asked, request: { url: `http://127.0.0.1:${port}/token?v=2`, token: "runner" } };
}

const token = (response: ServerResponse): void => void response.end('{"value":"a.b.c","count":1}');
const status = (code: number) => (response: ServerResponse) => {
  response.writeHead(code);
  response.end("{}");
};
const reset = (response: ServerResponse): void => void response.socket?.destroy();

test("a job without the permission does not ask", () => {
  expect(idTokenRequest({})).toBeUndefined();
  expect(idTokenRequest({ ACTIONS_ID_TOKEN_REQUEST_URL: "u", ACTIONS_ID_TOKEN_REQUEST_TOKEN: "t" })).toEqual({
    url: "u",
    token: "t",
  });
});

test("the token is asked for by the runner's own, for an audience", async () => {
  const { asked, request } = await answering([token]);
  expect(await requestIdToken(request, "sts.amazonaws.com&x", clock)).toBe("a.b.c");
  expect(asked).toEqual(["Bearer runner /token?v=2&audience=sts.amazonaws.com%26x"]);
});

test("a server's error and a lost connection are tried again, after waits", async () => {
  const { asked, request } = await answering([status(503), reset, token]);
  expect(await requestIdToken(request, "a", clock)).toBe("a.b.c");
  expect(asked).toHaveLength(3);
  expect(waits).toHaveLength(2);
});

test.each([
  ["a refusal", [status(403)], "GitHub answered 403", 1],
  ["an answer without a token", [status(200)], "has no token in it", 1],
  ["errors without end", Array.from({ length: 9 }, () => status(500)), "GitHub answered 500", 5],
] as const)("%s is told", async (_, answers, message, times) => {
  const { asked, request } = await answering(answers);
  await expect(requestIdToken(request, "a", clock)).rejects.toThrow(message);
  expect(asked).toHaveLength(times);
});
