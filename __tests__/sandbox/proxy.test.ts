import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { once } from "node:events";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packerEnvironment, startAwsProxy, type AwsProxy } from "../../sandbox/aws/proxy.ts";

let folder: string;
let proxy: AwsProxy;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kiln-proxy-"));
  proxy = await startAwsProxy({
    folder,
    handle: (request, response) => response.end(`${request.headers.host} ${request.url}`),
  });
});

afterAll(async () => {
  await proxy.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Answers the status of a CONNECT and the raw socket behind it. */
async function tunnel(target: string) {
  const { hostname, port } = new URL(proxy.url);
  const asking = request({ hostname, port, method: "CONNECT", path: target });
  asking.end();
  const connected = Promise.withResolvers<{ status: number; socket: Socket }>();
  asking.on("error", connected.reject);
  asking.on("connect", (response, socket) => {
    connected.resolve({ status: response.statusCode ?? 0, socket });
  });
  return connected.promise;
}

async function fetchThrough(host: string): Promise<string> {
  const { socket } = await tunnel(`${host}:443`);
  const secure: TLSSocket = connectTls({ socket, servername: host, ca: readFileSync(proxy.caFile) });
  await once(secure, "secureConnect");
  const answered = Promise.withResolvers<IncomingMessage>();
  get({ path: "/?Action=X", headers: { host }, createConnection: () => secure }, answered.resolve).on(
    "error",
    answered.reject,
  );
  return text(await answered.promise);
}

test.each([
  "ec2.eu-west-1.amazonaws.com",
  "ec2.amazonaws.com",
  "sts.amazonaws.com",
  "autoscaling.us-east-1.amazonaws.com",
  "ec2.eu-central-1.api.aws",
])("is %s for whoever trusts its authority", async (host) => {
  expect(await fetchThrough(host)).toBe(`${host} /?Action=X`);
});

test("is nobody for those who do not", async () => {
  const { socket } = await tunnel("ec2.eu-west-1.amazonaws.com:443");
  const secure = connectTls({ socket, servername: "ec2.eu-west-1.amazonaws.com" });
  await expect(once(secure, "secureConnect")).rejects.toThrow(/certificate|issuer/);
});

test.each([
  "checkpoint-api.hashicorp.com:443",
  "github.com:443",
  "amazonaws.com.example.org:443",
  "notamazonaws.com:443",
  "ec2.eu-west-1.amazonaws.com:80",
  "169.254.169.254:80",
])("refuses %s", async (target) => {
  const { status, socket } = await tunnel(target);
  socket.destroy();
  expect(status).toBe(403);
  expect(proxy.refused).toContain(target);
});

test("refuses plain HTTP", async () => {
  const { hostname, port } = new URL(proxy.url);
  const answered = Promise.withResolvers<IncomingMessage>();
  request({ hostname, port, path: "http://169.254.169.254/latest/meta-data/" }, answered.resolve).end();
  const response = await answered.promise;
  response.resume();
  expect(response.statusCode).toBe(403);
});

test("Packer's environment names the proxy and its authority, and no endpoint", () => {
  const environment = packerEnvironment(proxy);
  expect(environment).toMatchObject({ HTTPS_PROXY: proxy.url, SSL_CERT_FILE: proxy.caFile });
  expect(Object.keys(environment).filter((name) => name.startsWith("AWS_ENDPOINT"))).toEqual([]);
});
