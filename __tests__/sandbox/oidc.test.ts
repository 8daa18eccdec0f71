import { getIDToken } from "@actions/core";
import { AutoScalingClient, DescribeAutoScalingGroupsCommand } from "@aws-sdk/client-auto-scaling";
import { AssumeRoleWithWebIdentityCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { OidcJob } from "../../sandbox/github/identity-tokens.ts";
import { ACCESS_KEY, HOME, startSandbox } from "../../sandbox/sandbox.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import { refusal } from "./ec2-stage.ts";

async function setStage(): Promise<Sandbox> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-oidc-"));
  const sandbox = await startSandbox({ folder, speed: 0, ssh: false });
  onTestFinished(async () => {
    await sandbox.close();
    await rm(folder, { recursive: true, force: true });
  });
  return sandbox;
}

/** What the job's action gets from GitHub's own toolkit. */
async function tokenOf(sandbox: Sandbox, job?: OidcJob, audience?: string): Promise<string> {
  for (const [name, value] of Object.entries(sandbox.oidcEnvironment(job))) vi.stubEnv(name, value);
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    return await getIDToken(audience);
  } finally {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  }
}

function claimsOf(token: string): Record<string, unknown> {
  const [, claims = ""] = token.split(".");
  return JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
}

const settings = (sandbox: Sandbox, accessKeyId: string) => ({
  endpoint: sandbox.awsUrl,
  region: HOME.region,
  credentials: { accessKeyId, secretAccessKey: "secret" },
});

describe("GitHub's OIDC tokens", () => {
  test("say who the job is", async () => {
    const sandbox = await setStage();
    expect(sandbox.environment()).not.toHaveProperty("ACTIONS_ID_TOKEN_REQUEST_URL");
    const job = { ref: "refs/heads/stage", sha: "a".repeat(40), runId: 7 };
    expect(claimsOf(await tokenOf(sandbox, job, "sts.amazonaws.com"))).toMatchObject({
      iss: "https://token.actions.githubusercontent.com",
      sub: "repo:acme/web:ref:refs/heads/stage",
      aud: "sts.amazonaws.com",
      run_id: "7",
      sha: "a".repeat(40),
    });
    expect(claimsOf(await tokenOf(sandbox, { environment: "production" }))).toMatchObject({
      sub: "repo:acme/web:environment:production",
      aud: "https://github.com/acme",
    });
    expect(sandbox.log.entries).toMatchObject([
      { service: "github", action: "GET /idtoken/7", status: 200, writes: false },
      { service: "github", action: "GET /idtoken/1", status: 200 },
    ]);
  });

  test("are given to the job's own bearer token only", async () => {
    const sandbox = await setStage();
    const { ACTIONS_ID_TOKEN_REQUEST_URL: url = "" } = sandbox.oidcEnvironment();
    const answer = await fetch(`${url}&audience=sts.amazonaws.com`, {
      headers: { authorization: "Bearer of bad news" },
    });
    expect(answer.status).toBe(401);
  });
});

describe("a job without keys", () => {
  const RoleArn = "arn:aws:iam::222222222222:role/deploy";
  const request = (WebIdentityToken: string) =>
    new AssumeRoleWithWebIdentityCommand({ RoleArn, RoleSessionName: "kiln", WebIdentityToken });

  test("gets them from STS for its token, and loses them when they expire", async () => {
    const sandbox = await setStage();
    const sts = new STSClient({ endpoint: sandbox.awsUrl, region: HOME.region });
    const token = await tokenOf(sandbox, {}, "sts.amazonaws.com");
    const { Credentials } = await sts.send(request(token));
    const key = Credentials?.AccessKeyId ?? "";
    const mine = new STSClient(settings(sandbox, key));
    expect((await mine.send(new GetCallerIdentityCommand())).Arn).toBe(
      "arn:aws:sts::222222222222:assumed-role/deploy/kiln",
    );
    const scaling = new AutoScalingClient(settings(sandbox, key));
    await scaling.send(new DescribeAutoScalingGroupsCommand());
    sandbox.expireCredentials(key);
    const late = scaling.send(new DescribeAutoScalingGroupsCommand());
    expect((await refusal(late)).code).toBe("ExpiredToken");
    const others = new AutoScalingClient(settings(sandbox, ACCESS_KEY));
    await others.send(new DescribeAutoScalingGroupsCommand());
  });

  test("gets none for a token that GitHub did not issue", async () => {
    const sandbox = await setStage();
    const sts = new STSClient({ endpoint: sandbox.awsUrl, region: HOME.region });
    const token = await tokenOf(sandbox, {}, "sts.amazonaws.com");
    const forged = sts.send(request(`${token.slice(0, -4)}AAAA`));
    expect((await refusal(forged)).code).toBe("InvalidIdentityTokenException");
    const unheard = sts.send(request(await tokenOf(sandbox)));
    expect((await refusal(unheard)).message).toBe("Incorrect token audience");
  });
});
