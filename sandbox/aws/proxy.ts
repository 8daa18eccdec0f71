import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket, type SecureContext } from "node:tls";
import { generate } from "selfsigned";

/**
 * Stands between a program and the internet, and is AWS for it: a connection to any AWS endpoint ends here, with a
 * certificate from an authority of this sandbox's own, and its requests go to `handle`. Every other host is refused.
 * So a Packer template needs no endpoint setting to bake against the sandbox: it is tested as it will run.
 */
export interface AwsProxy {
  /** For HTTPS_PROXY. */
  readonly url: string;
  /** The authority's certificate, PEM. */
  readonly caFile: string;
  /** What was asked for and refused, as `host:port` or as the URL of a plain HTTP request. */
  readonly refused: readonly string[];
  close(): Promise<void>;
}

export interface AwsProxyOptions {
  readonly handle: RequestListener;
  /** The certificate is written here. */
  readonly folder: string;
  readonly port?: number;
}

/** Endpoints of every region and service, the dual-stack ones (`ec2.eu-west-1.api.aws`) too. */
const awsEndpoint = /^(?:[a-z0-9-]+\.)+(?:amazonaws\.com|api\.aws)$/;

export async function startAwsProxy(options: AwsProxyOptions): Promise<AwsProxy> {
  const authority = await createAuthority(options.folder);
  const refused: string[] = [];
  const sockets = new Set<Duplex>();
  // Never listens: it only parses the requests that come out of the tunnels.
  const endpoint = createServer(options.handle);
  const proxy = createServer((request, response) => {
    refused.push(request.url ?? "");
    response.writeHead(403).end("The sandbox reaches AWS only, and only by CONNECT\n");
  });

  const tunnel = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const [host = "", port] = (request.url ?? "").toLowerCase().split(":");
    if (port !== "443" || !awsEndpoint.test(host)) {
      refused.push(request.url ?? "");
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    const secureContext = await authority.contextFor(host);
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) socket.unshift(head);
    const plain = new TLSSocket(socket, { isServer: true, secureContext });
    plain.on("error", () => socket.destroy());
    endpoint.emit("connection", plain);
  };

  proxy.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  proxy.on("connect", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    tunnel(request, socket, head).catch(() => socket.destroy());
  });

  const listening = Promise.withResolvers<void>();
  proxy.once("error", listening.reject).listen(options.port ?? 0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("The proxy has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    caFile: authority.caFile,
    refused,
    async close() {
      const closed = Promise.withResolvers<void>();
      proxy.close(() => closed.resolve());
      for (const socket of sockets) socket.destroy();
      await closed.promise;
    },
  };
}

/**
 * The environment in which Packer (and other programs in Go, the AWS CLI, Terraform) talks to the sandbox. Credentials
 * and region are the caller's. Both spellings of the proxy's name, for Go prefers one and Python the other.
 */
export function packerEnvironment(proxy: Pick<AwsProxy, "url" | "caFile">): Record<string, string> {
  // Addresses for programs that know no networks (the AWS CLI), the network for those that do.
  const direct = "localhost,127.0.0.1,127.0.0.0/8";
  return {
    HTTPS_PROXY: proxy.url,
    https_proxy: proxy.url,
    HTTP_PROXY: proxy.url,
    http_proxy: proxy.url,
    NO_PROXY: direct,
    no_proxy: direct,
    SSL_CERT_FILE: proxy.caFile,
    AWS_CA_BUNDLE: proxy.caFile,
    AWS_EC2_METADATA_DISABLED: "true",
    // Packer waits in real time: 1 s instead of the 2 to 15 s that spare the real AWS. AWS_MAX_ATTEMPTS stays unset,
    // for newer plugins multiply the two into their whole patience.
    AWS_POLL_DELAY_SECONDS: "1",
    CHECKPOINT_DISABLE: "1",
  };
}

interface Authority {
  readonly caFile: string;
  contextFor(host: string): Promise<SecureContext>;
}

/** A certificate authority for one run; a host gets its certificate when it is first asked for. */
async function createAuthority(folder: string): Promise<Authority> {
  const algorithm = { keyType: "ec", algorithm: "sha256" } as const;
  const authority = await generate([{ name: "commonName", value: "Kiln sandbox" }], {
    ...algorithm,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  await mkdir(folder, { recursive: true });
  const caFile = join(folder, "sandbox-ca.pem");
  await writeFile(caFile, authority.cert);

  const issue = async (host: string): Promise<SecureContext> => {
    const leaf = await generate([{ name: "commonName", value: host }], {
      ...algorithm,
      ca: { key: authority.private, cert: authority.cert },
      extensions: [
        { name: "basicConstraints", cA: false, critical: true },
        { name: "keyUsage", digitalSignature: true, critical: true },
        { name: "extKeyUsage", serverAuth: true },
        { name: "subjectAltName", altNames: [{ type: 2, value: host }] },
      ],
    });
    return createSecureContext({ key: leaf.private, cert: leaf.cert });
  };
  const issued = new Map<string, Promise<SecureContext>>();
  return {
    caFile,
    contextFor(host) {
      const context = issued.get(host) ?? issue(host);
      issued.set(host, context);
      return context;
    },
  };
}
