import type { ServerResponse } from "node:http";
import { XMLBuilder } from "fast-xml-parser";
import type { LoggedRequest } from "../request-log.ts";
import { jsonError, jsonResult } from "./json.ts";
import { type AwsService, protocols } from "./protocols.ts";
import type { AwsError, Query } from "./query.ts";

/** One request, decoded. */
export interface Exchange {
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

const builder = new XMLBuilder({ format: false, ignoreAttributes: false, attributeNamePrefix: "@" });

/** What an operation gave. */
export function sendResult(exchange: Exchange, result: Record<string, unknown>): void {
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

/** What a service refused, or failed in. */
export function sendError(
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
  // On a refusal a Date header of another time makes the AWS SDKs correct their clock and resend; none at all is harmless.
  response.sendDate = false;
  const date = status === 200 ? { date: entry.at.toUTCString() } : {};
  response.writeHead(status, { "x-amzn-requestid": requestId, ...date, ...headers });
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
