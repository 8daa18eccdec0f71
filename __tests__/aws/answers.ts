import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as the local AWS got it. */
export interface Asked {
  readonly action: string;
  /** Undefined for one without signature. */
  readonly accessKey: string | undefined;
  readonly token: string | undefined;
  /** The service that it was signed for. */
  readonly service: string | undefined;
  readonly userAgent: string;
  readonly params: URLSearchParams;
}

/** An answer, or AWS's refusal by code. */
export type Answer = { readonly body: string } | { readonly code: string; readonly message?: string };

/** AWS on this machine: every request is answered by `answer`, and kept. */
export class LocalAws implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #server: Server;

  private constructor(answer: (asked: Asked) => Answer | Promise<Answer>) {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const params = new URLSearchParams(Buffer.concat(chunks).toString());
        const [, accessKey, service] =
          /Credential=([^/]+)\/[^/]+\/[^/]+\/([^/]+)\//.exec(request.headers.authorization ?? "") ?? [];
        const target = request.headers["x-amz-target"] ?? request.url?.split("/").at(-1);
        const asked: Asked = {
          action: params.get("Action") ?? String(target),
          accessKey,
          service,
          token: request.headers["x-amz-security-token"]?.toString(),
          userAgent: String(request.headers["user-agent"]),
          params,
        };
        this.asked.push(asked);
        const reply = async (): Promise<void> => {
          const answered = await answer(asked);
          response.setHeader("x-amzn-requestid", "r-1");
          const type = String(request.headers["content-type"]);
          const json = type.includes("json");
          response.setHeader("content-type", json ? type : "text/xml");
          if ("body" in answered) response.end(json ? "{}" : answered.body);
          else if (json) response.writeHead(400).end(jsonRefusal(answered));
          else response.writeHead(400).end(refusal(asked, answered));
        };
        void reply();
      });
    });
  }

  static async open(answer: (asked: Asked) => Answer | Promise<Answer>): Promise<LocalAws> {
    const local = new LocalAws(answer);
    await new Promise<void>((resolve) => {
      local.#server.listen(0, "127.0.0.1", resolve);
    });
    return local;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get log(): string[] {
    return this.asked.map(({ action, accessKey }) => `${action} by ${accessKey ?? "nobody"}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

/** EC2 has its own form of errors. */
function refusal({ service }: Asked, { code, message = "no" }: Extract<Answer, { code: string }>): string {
  const error = `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return service === "ec2"
    ? `<Response><Errors>${error}</Errors><RequestID>r-1</RequestID></Response>`
    : `<ErrorResponse>${error}<RequestId>r-1</RequestId></ErrorResponse>`;
}

/** CloudWatch's clients speak AWS's JSON protocol by now (its SDK's runtimeConfig). */
function jsonRefusal({ code, message = "no" }: Extract<Answer, { code: string }>): string {
  return JSON.stringify({ __type: `com.amazonaws.cloudwatch#${code}`, message });
}

/** GetCallerIdentity's answer. */
export const callerIs = (arn: string): Answer => ({
  body: `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>${arn}</Arn><UserId>AROA:x</UserId><Account>111111111111</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`,
});

/** AssumeRoleWithWebIdentity's answer: a key, and a secret and token named after it. */
export const newKey = (key: string): Answer => ({
  body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${key}</AccessKeyId><SecretAccessKey>secret of ${key}</SecretAccessKey><SessionToken>token of ${key}</SessionToken><Expiration>2026-11-20T12:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
});

export const EMPTY: Answer = { body: "<Response></Response>" };
