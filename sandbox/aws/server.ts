/**
 * AWS on loopback: the Query protocol of EC2, Auto Scaling, Elastic Load Balancing and STS, and CloudWatch's JSON, on one
 * port. The services themselves are tables of operations; this file knows only the wire: routing, credentials, XML, the
 * request log and faults.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import { XMLBuilder } from "fast-xml-parser";
import type { SandboxClock } from "../clock.ts";
import type { FaultEffect, Faults } from "../faults.ts";
import type { LoggedRequest, RequestLog } from "../request-log.ts";
import { isExpired } from "./credentials.ts";
import type { AwsAccount, AwsAccounts } from "./credentials.ts";
import type { Check } from "./iam.ts";
import { jsonError, jsonFields, jsonResult, jsonTarget } from "./json.ts";
import type { JsonTarget } from "./json.ts";
import { AwsError, Query } from "./query.ts";
import type { Call, Operations } from "./query.ts";

export type { AwsAccount, AwsAccounts };

export type AwsService = "ec2" | "autoscaling" | "sts" | "elasticloadbalancing" | "cloudwatch";

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

interface Protocol {
  readonly version: string;
  readonly namespace: string;
  /** EC2's variant has neither `<XResult>` nor `<ErrorResponse>`. */
  readonly variant: "ec2" | "query";
  readonly unknownKey: AwsError;
  readonly expired: AwsError;
  /** Operations that nobody signs. */
  readonly unsigned?: readonly string[];
  /** How the AWS JSON protocol calls the service, where it is spoken too. */
  readonly target?: string;
}

const unknownToken = new AwsError(
  "InvalidClientTokenId",
  "The security token included in the request is invalid.",
  403,
);
const expiredToken = new AwsError(
  "ExpiredToken",
  "The security token included in the request is expired",
  403,
);

// EC2 API reference, Error codes; Common errors of the other services' API references.
const protocols: Readonly<Record<AwsService, Protocol>> = {
  ec2: {
    version: "2016-11-15",
    namespace: "http://ec2.amazonaws.com/doc/2016-11-15/",
    variant: "ec2",
    unknownKey: new AwsError(
      "AuthFailure",
      "AWS was not able to validate the provided access credentials",
      401,
    ),
    expired: new AwsError("RequestExpired", "Request has expired."),
  },
  autoscaling: {
    version: "2011-01-01",
    namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
  },
  sts: {
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
    // STS API reference, AssumeRoleWithWebIdentity: "does not require the use of AWS security credentials".
    unsigned: ["AssumeRoleWithWebIdentity"],
  },
  elasticloadbalancing: {
    version: "2015-12-01",
    namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
  },
  cloudwatch: {
    version: "2010-08-01",
    namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
    target: "GraniteServiceVersion20100801",
  },
};

const serviceNames: readonly AwsService[] = [
  "ec2",
  "autoscaling",
  "sts",
  "elasticloadbalancing",
  "cloudwatch",
];

/** One request, decoded. */
interface Exchange {
  readonly service: AwsService;
  readonly action: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly query: Query;
  /** It came in the AWS JSON protocol, and is answered in it. */
  readonly isJson: boolean;
  readonly requestId: string;
  readonly entry: LoggedRequest;
  readonly response: ServerResponse;
  /** The answer breaks off in its middle, together with the connection. */
  readonly isCut?: boolean;
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

const builder = new XMLBuilder({ format: false, ignoreAttributes: false, attributeNamePrefix: "@" });

function sendResult(exchange: Exchange, result: Record<string, unknown>): void {
  const { action, requestId } = exchange;
  const { variant, namespace } = protocols[exchange.service];
  if (exchange.isJson) {
    sendJson(exchange, 200, jsonResult(result));
    return;
  }
  const content =
    variant === "ec2"
      ? { requestId, ...result }
      : { [`${action}Result`]: result, ResponseMetadata: { RequestId: requestId } };
  send(exchange, 200, { [`${action}Response`]: { "@xmlns": namespace, ...content } });
}

function sendError(
  exchange: Exchange,
  error: AwsError,
  headers: Readonly<Record<string, string>> = {},
): void {
  const { requestId } = exchange;
  const { variant, namespace } = protocols[exchange.service];
  exchange.entry.error = error.code;
  if (exchange.isJson) {
    const { body, headers: own } = jsonError(error);
    sendJson(exchange, error.status, body, { ...own, ...headers });
    return;
  }
  const { code: Code, message: Message } = error;
  const Type = error.status >= 500 ? "Receiver" : "Sender";
  const content =
    variant === "ec2"
      ? { Response: { Errors: { Error: { Code, Message } }, RequestID: requestId } }
      : { ErrorResponse: { "@xmlns": namespace, Error: { Type, Code, Message }, RequestId: requestId } };
  send(exchange, error.status, content, headers);
}

function send(
  exchange: Exchange,
  status: number,
  content: Record<string, unknown>,
  headers: Readonly<Record<string, string>> = {},
): void {
  writeHead(exchange, status, { "content-type": "text/xml;charset=UTF-8", ...headers });
  end(exchange, `<?xml version="1.0" encoding="UTF-8"?>${builder.build(plain(content))}`);
}

function sendJson(
  exchange: Exchange,
  status: number,
  content: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  writeHead(exchange, status, { "content-type": "application/x-amz-json-1.0", ...headers });
  end(exchange, JSON.stringify(content));
}

function end({ response, isCut = false }: Exchange, body: string): void {
  if (isCut) response.write(body.slice(0, body.length / 2), () => response.socket?.destroy());
  else response.end(body);
}

function writeHead(exchange: Exchange, status: number, headers: Readonly<Record<string, string>>): void {
  const { response, entry, requestId } = exchange;
  entry.status = status;
  // A Date header of another time makes the AWS SDKs correct their clock and resend; none at all is harmless.
  response.sendDate = false;
  response.writeHead(status, { "x-amzn-requestid": requestId, ...headers });
}

/** What the XML builder needs: dates as ISO 8601, empty lists and structures as empty elements, no undefined. */
function plain(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined && item !== null && !(Array.isArray(item) && item.length === 0))
    .map(([key, item]) => [key, plain(item)] as const);
  return entries.length === 0 ? "" : Object.fromEntries(entries);
}
