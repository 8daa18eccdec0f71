import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxClock } from "../clock.ts";
import type { FaultEffect, Faults } from "../faults.ts";
import type { LoggedRequest, RequestLog } from "../request-log.ts";
import type { GitHubTokens } from "./access.ts";
import { authenticate, authorize } from "./access.ts";
import { aboutEndpoints } from "./about.ts";
import { commitEndpoints } from "./commits.ts";
import type { Answer, Body, Endpoint, MatchingRefs } from "./endpoint.ts";
import { isBody } from "./endpoint.ts";
import { forbidden, GitHubError, notFound } from "./errors.ts";
import { answerGraphql, isMutation } from "./graphql.ts";
import type { UpdateRefsScope } from "./graphql-mutations.ts";
import type { IdentityProvider } from "./identity-tokens.ts";
import { IDENTITY_PATH } from "./identity-tokens.ts";
import { RateLimit } from "./rate-limit.ts";
import { refEndpoints } from "./refs.ts";
import type { GitHubRepository } from "./repository.ts";
import { rulesetEndpoints } from "./rulesets.ts";
import { tagEndpoints } from "./tags.ts";
import { treeEndpoints } from "./trees.ts";

export interface GitHubServerOptions {
  readonly clock: SandboxClock;
  readonly log: RequestLog;
  readonly faults: Faults;
  readonly repositories: readonly GitHubRepository[];
  readonly tokens: GitHubTokens;
  /** Gives jobs their OIDC tokens; without it there is no such endpoint. */
  readonly identity?: IdentityProvider;
  /** Default: any free port. */
  readonly port?: number;
  /** GitHub Enterprise servers and proxies may lack GraphQL (`missing`: 404) or refuse it (`forbidden`: 403). */
  readonly graphql?: "on" | "missing" | "forbidden";
  /** Whether GraphQL's `updateRefs` takes refs outside of `refs/heads` and `refs/tags`; GitHub does not document it. Default: `any-ref`. */
  readonly updateRefs?: UpdateRefsScope;
  /** Default: `whole`. */
  readonly matchingRefs?: MatchingRefs;
}

export interface GitHubServer {
  readonly apiUrl: string;
  readonly graphqlUrl: string;
  readonly close: () => Promise<void>;
}

const ENDPOINTS: readonly Endpoint[] = [
  ...aboutEndpoints,
  ...refEndpoints,
  ...rulesetEndpoints,
  ...tagEndpoints,
  ...commitEndpoints,
  ...treeEndpoints,
];

/** A request as it came in, read to its end. */
interface Received {
  readonly message: IncomingMessage;
  readonly method: string;
  /** Decoded: `heads%2Fmain`, which Octokit sends, and `heads/main` are the same to GitHub. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Undefined where the body is not JSON. */
  readonly body: Body | undefined;
}

/** What all requests of one server share. */
interface Service {
  readonly options: GitHubServerOptions;
  readonly limits: RateLimit;
  url: string;
}

/** Serves the repositories as api.github.com does: REST at the root, GraphQL at `/graphql`. */
export async function startGitHubServer(options: GitHubServerOptions): Promise<GitHubServer> {
  const service: Service = { options, limits: new RateLimit(), url: "" };
  const server = createServer((message, response) => {
    // What is left to fail is a client that went away while it was sending.
    serve(service, message, response).catch(() => message.socket.destroy());
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(options.port ?? 0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  service.url = `http://127.0.0.1:${address.port}`;
  return {
    apiUrl: service.url,
    graphqlUrl: `${service.url}/graphql`,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

async function serve(service: Service, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const { log, faults, clock } = service.options;
  const request = await receive(message);
  const action = `${request.method} ${request.path}`;
  const entry = log.add({
    service: "github",
    action,
    params: request.body ?? {},
    at: clock.date(),
    writes: request.path === "/graphql" ? isMutation(request.body ?? {}) : request.method !== "GET",
    userAgent: message.headers["user-agent"] ?? "",
    status: 0,
  });
  const effect = faults.take({ service: "github", action, userAgent: entry.userAgent });
  const answer = await meet(effect, service, request);
  if (answer === undefined) return;
  note(entry, answer);
  const final = { ...answer, headers: { ...service.limits.headers(message), ...answer.headers } };
  if (effect?.kind === "cut") sendHalf(response, final);
  else send(response, final);
}

/** What the request is answered with; undefined where it is not. */
async function meet(
  effect: FaultEffect | undefined,
  service: Service,
  request: Received,
): Promise<Answer | undefined> {
  const { socket } = request.message;
  switch (effect?.kind) {
    case "reply":
      return faultAnswer(effect);
    case "reply-after-effect":
      await answerOrError(service, request);
      return faultAnswer(effect);
    case "drop-before":
      socket.destroy();
      return undefined;
    case "drop-after":
      await answerOrError(service, request);
      socket.destroy();
      return undefined;
    case "silence-before":
      return undefined;
    case "silence-after":
      await answerOrError(service, request);
      return undefined;
    case "delay":
      await sleep(effect.milliseconds);
      return answerOrError(service, request);
    case "late": {
      const answer = await answerOrError(service, request);
      await sleep(effect.milliseconds);
      return answer;
    }
    case "held": {
      const answer = await answerOrError(service, request);
      await effect.until;
      return answer;
    }
    case "unseen":
      // Only reads lag behind.
      return isMutation(request.body ?? {}) ? answerOrError(service, request) : unseen(request);
    case "cut":
    case undefined:
      break;
  }
  return answerOrError(service, request);
}

/** What a server says that lags behind: not found, or to GraphQL a repository without any of what is asked for. */
function unseen(request: Received): Answer {
  if (request.path !== "/graphql") return { status: 404, body: { message: "Not Found" } };
  const query = String(request.body?.["query"]);
  const aliases = [...query.matchAll(/(\w+): (refs|ref|object)\(/g)];
  const fields = aliases.map(([, alias = "", field]) => [alias, field === "refs" ? { nodes: [] } : null]);
  return { status: 200, body: { data: { repository: Object.fromEntries(fields) } } };
}

async function receive(message: IncomingMessage): Promise<Received> {
  const url = new URL(message.url ?? "/", "http://sandbox");
  const received = await text(message);
  const { method = "GET" } = message;
  return { message, method, path: decoded(url.pathname), query: url.searchParams, body: json(received) };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function json(received: string): Body | undefined {
  if (received === "") return {};
  try {
    const value: unknown = JSON.parse(received);
    return isBody(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function faultAnswer(effect: Extract<FaultEffect, { status: number }>): Answer {
  return { status: effect.status, body: { message: effect.message }, headers: effect.headers ?? {} };
}

function note(entry: LoggedRequest, answer: Answer): void {
  entry.status = answer.status;
  if (answer.status < 400 || !isBody(answer.body)) return;
  entry.error = String(answer.body["message"]);
}

async function answerOrError(service: Service, request: Received): Promise<Answer> {
  const rest = /^\/repos\/([^/]+)\/([^/]+)(\/.*)?$/.exec(request.path);
  const endpoint = ENDPOINTS.find(
    ({ method, pattern }) => method === request.method && pattern.test(rest?.[3] ?? ""),
  );
  const accepted = endpoint?.accepted ?? endpoint?.needs;
  const headers = accepted === undefined ? {} : { "x-accepted-github-permissions": accepted };
  try {
    const answer =
      identityAnswer(service, request) ??
      (request.path === "/graphql"
        ? await graphql(service, request)
        : await restAnswer(service, request, rest, endpoint));
    return { ...answer, headers: { ...headers, ...answer.headers } };
  } catch (error) {
    // A fault of the sandbox, not of the client: told like GitHub tells its own, with the reason in plain view.
    if (!(error instanceof GitHubError)) return { status: 500, body: { message: String(error) } };
    const documentation = rest === null ? undefined : endpoint?.documentation;
    const body = {
      message: error.message,
      documentation_url: documentation ?? "https://docs.github.com/rest",
      status: String(error.status),
    };
    return { status: error.status, body, headers: { ...headers, ...error.headers } };
  }
}

function identityAnswer({ options }: Service, request: Received): Answer | undefined {
  if (request.method !== "GET" || !request.path.startsWith(`${IDENTITY_PATH}/`)) return undefined;
  return options.identity?.answer(request.message.headers, request.query);
}

async function restAnswer(
  service: Service,
  request: Received,
  rest: RegExpExecArray | null,
  endpoint: Endpoint | undefined,
): Promise<Answer> {
  const { clock, tokens } = service.options;
  const { headers } = request.message;
  const token = authenticate(headers, tokens);
  const [, owner = "", name = "", path = ""] = rest ?? [];
  const repository = find(service, owner, name);
  if (repository === undefined || endpoint === undefined) throw notFound();
  authorize(token, repository, endpoint.needs, endpoint.accepted ?? endpoint.needs);
  if (request.body === undefined) throw new GitHubError(400, "Problems parsing JSON");
  if (/^\/(?:git|commits)\//.test(path) && (await repository.isEmpty())) {
    throw new GitHubError(409, "Git Repository is empty.");
  }
  return endpoint.answer({
    repository,
    token,
    clock,
    path: endpoint.pattern.exec(path)?.slice(1) ?? [],
    query: request.query,
    body: request.body,
    accept: headers.accept ?? "",
    url: `${service.url}/repos/${repository.fullName}`,
    matchingRefs: service.options.matchingRefs ?? "whole",
  });
}

async function graphql(service: Service, request: Received): Promise<Answer> {
  const { graphql: mode, tokens } = service.options;
  if (mode === "missing" || request.method !== "POST") throw notFound();
  const token = authenticate(request.message.headers, tokens);
  if (mode === "forbidden") throw forbidden("contents=read");
  if (request.body === undefined) throw new GitHubError(400, "Problems parsing JSON");
  return answerGraphql(request.body, {
    token,
    find: (owner, name) => find(service, owner, name),
    updateRefs: service.options.updateRefs ?? "any-ref",
    repositories: service.options.repositories,
  });
}

/** GitHub's names of owners and repositories ignore case. */
function find(service: Service, owner: string, name: string): GitHubRepository | undefined {
  const wanted = `${owner}/${name}`.toLowerCase();
  return service.options.repositories.find(({ fullName }) => fullName.toLowerCase() === wanted);
}

/** An answer that breaks off in its middle, together with the connection. */
function sendHalf(response: ServerResponse, answer: Answer): void {
  const bytes = bytesOf(answer) ?? Buffer.from("");
  response.writeHead(answer.status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": bytes.length + 1,
    ...answer.headers,
  });
  response.write(bytes.subarray(0, bytes.length / 2), () => response.socket?.destroy());
}

function bytesOf({ body }: Answer): Buffer | undefined {
  return body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
}

function send(response: ServerResponse, answer: Answer): void {
  if (response.destroyed || response.headersSent) return;
  const bytes = bytesOf(answer);
  response.writeHead(answer.status, {
    server: "github.com",
    "x-github-request-id": randomUUID().toUpperCase(),
    "x-github-media-type": "github.v3; format=json",
    "x-github-api-version-selected": "2022-11-28",
    ...(bytes === undefined
      ? {}
      : { "content-type": "application/json; charset=utf-8", "content-length": bytes.length }),
    ...answer.headers,
  });
  response.end(bytes);
}
