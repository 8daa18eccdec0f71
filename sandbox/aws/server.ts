/**
 * AWS on loopback: the Query protocol of EC2, Auto Scaling, Elastic Load Balancing and STS, and CloudWatch's JSON, on one
 * port. The services themselves are tables of operations; this file knows only the wire: routing, credentials, the
 * request log and faults.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import type { SandboxClock } from "../clock.ts";
import type { FaultEffect, Faults } from "../faults.ts";
import type { RequestLog } from "../request-log.ts";
import { type Exchange, sendError, sendResult } from "./answers.ts";
import { isExpired } from "./credentials.ts";
import type { AwsAccount, AwsAccounts } from "./credentials.ts";
import type { Check } from "./iam.ts";
import { jsonFields, jsonTarget } from "./json.ts";
import type { JsonTarget } from "./json.ts";
import { type AwsService, protocols, serviceNames } from "./protocols.ts";
import { AwsError, Query } from "./query.ts";
import type { Call, Operations } from "./query.ts";

export type { AwsAccount, AwsAccounts, AwsService };

export interface AwsServerOptions {
  readonly clock: SandboxClock;
  readonly log: RequestLog;
  readonly faults: Faults;
  readonly services: Readonly<Partial<Record<AwsService, Operations>>>;
  readonly accounts: AwsAccounts;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Throws AwsError when the caller's policy does not allow the request. Default: everything is allowed. */
  readonly authorize?: (request: AuthorizedRequest) => void;
  /** Whether the caller may do something besides the request; what it decides is a part of the answer. */
  readonly permits?: (request: AuthorizedRequest, check: Check) => boolean;
}

export interface AuthorizedRequest extends Call {
  readonly service: AwsService;
  readonly action: string;
  readonly accessKeyId: string;
}

export interface AwsServer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  close(): Promise<void>;
}

export async function startAwsServer(options: AwsServerOptions): Promise<AwsServer> {
  const handle = createAwsHandler(options);
  const server = createServer(handle);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const port = portOf(server);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    handle,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new Error("The server does not listen on a TCP port");
}

/** The request handler without a listener, for a proxy that terminates TLS itself. */
export function createAwsHandler(
  options: AwsServerOptions,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => response.destroy());
    request.on("end", () => {
      const exchange = decode(options, request, response, Buffer.concat(chunks).toString("utf8"));
      const effect = options.faults.take({ ...exchange, userAgent: exchange.entry.userAgent });
      if (effect === undefined) answer(options, exchange);
      else meet(effect, options, exchange);
    });
  };
}

function decode(
  options: AwsServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
): Exchange {
  const search = new URL(request.url ?? "/", "http://localhost").searchParams;
  const target = jsonTarget(request.headers["x-amz-target"]);
  const query = new Query(
    target === undefined ? [...search, ...new URLSearchParams(body)] : jsonFields(body),
  );
  const scope = credentialScope(request.headers.authorization);
  const action = target?.action ?? query.string("Action") ?? "";
  const service = targeted(target) ?? route(options.services, query.string("Version"), action, scope.service);
  const entry = options.log.add({
    service,
    action,
    region: scope.region,
    params: query.flat(),
    at: options.clock.date(),
    // A dry run changes nothing whatever its action is called (EC2 API reference, Common query parameters), and assuming
    // a role only gives out keys.
    writes: !/^(?:Describe|Get|List|AssumeRole)/.test(action) && query.boolean("DryRun") !== true,
    userAgent: request.headers["user-agent"] ?? "",
    status: 0,
  });
  const { region, accessKeyId } = scope;
  const isJson = target !== undefined;
  return { service, action, region, accessKeyId, query, isJson, requestId: randomUUID(), entry, response };
}

function targeted(target: JsonTarget | undefined): AwsService | undefined {
  if (target === undefined) return undefined;
  return serviceNames.find((name) => protocols[name].target === target.service);
}

function route(
  services: AwsServerOptions["services"],
  version: string | undefined,
  action: string,
  signedFor: string,
): AwsService {
  return (
    serviceNames.find((name) => protocols[name].version === version) ??
    serviceNames.find((name) => services[name]?.[action] !== undefined) ??
    serviceNames.find((name) => name === signedFor) ??
    "ec2"
  );
}

/** `AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/ec2/aws4_request, …` */
function credentialScope(authorization = ""): { accessKeyId: string; region: string; service: string } {
  const scope = /Credential=([^/]+)\/\d+\/([^/]+)\/([^/]+)\/aws4_request/.exec(authorization);
  return { accessKeyId: scope?.[1] ?? "", region: scope?.[2] ?? "us-east-1", service: scope?.[3] ?? "" };
}

function meet(effect: FaultEffect, options: AwsServerOptions, exchange: Exchange): void {
  switch (effect.kind) {
    case "reply":
      sendError(exchange, new AwsError(effect.code, effect.message, effect.status), effect.headers);
      break;
    case "reply-after-effect":
      attempt(options, exchange);
      sendError(exchange, new AwsError(effect.code, effect.message, effect.status), effect.headers);
      break;
    case "drop-before":
      exchange.response.socket?.destroy();
      break;
    case "drop-after":
      attempt(options, exchange);
      exchange.response.socket?.destroy();
      break;
    case "silence-before":
      break;
    case "silence-after":
      attempt(options, exchange);
      break;
    case "cut":
      answer(options, { ...exchange, isCut: true });
      break;
    case "unseen":
      // An empty answer reads as one with empty lists.
      sendResult(exchange, {});
      break;
    case "delay":
      setTimeout(() => answer(options, exchange), effect.milliseconds);
      break;
    case "late": {
      const result = attempt(options, exchange);
      setTimeout(() => respond(exchange, result), effect.milliseconds);
      break;
    }
    case "held": {
      const result = attempt(options, exchange);
      void effect.until.then(() => respond(exchange, result));
      break;
    }
  }
}

function answer(options: AwsServerOptions, exchange: Exchange): void {
  respond(exchange, attempt(options, exchange));
}

function respond(exchange: Exchange, result: Record<string, unknown> | AwsError): void {
  if (result instanceof AwsError) sendError(exchange, result);
  else sendResult(exchange, result);
}

/** Carries the request out. Anything but an AwsError is a defect of the sandbox, answered as AWS answers its own. */
function attempt(options: AwsServerOptions, exchange: Exchange): Record<string, unknown> | AwsError {
  try {
    return perform(options, exchange);
  } catch (error) {
    if (error instanceof AwsError) return error;
    process.stderr.write(
      `sandbox: ${exchange.action}: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    return new AwsError("InternalError", `The sandbox failed: ${String(error)}`, 500);
  }
}

function perform(options: AwsServerOptions, exchange: Exchange): Record<string, unknown> {
  const { service, action, region, accessKeyId, query, requestId } = exchange;
  const accountId = accountOf(options, exchange);
  // Lets everything that was due before this request happen before it.
  options.clock.now();
  const operation = options.services[service]?.[action];
  if (operation === undefined) {
    throw new AwsError("InvalidAction", `The action ${action} is not valid for this web service.`);
  }
  const call: Call = { query, region, accountId, accessKeyId, requestId };
  const request: AuthorizedRequest = { ...call, service, action, accessKeyId };
  options.authorize?.(request);
  return operation({ ...call, permits: (check) => options.permits?.(request, check) ?? true });
}

/** The account that the request acts in; an unsigned one acts in none until its operation says which. */
function accountOf(options: AwsServerOptions, { service, action, accessKeyId }: Exchange): string {
  const { unsigned = [], unknownKey, expired } = protocols[service];
  if (unsigned.includes(action)) return "";
  const account = options.accounts[accessKeyId];
  if (account === undefined || account.state === "unknown") throw unknownKey;
  if (isExpired(account)) throw expired;
  return account.accountId;
}
