import type { AwsClientOptions, AwsClients } from "../aws/clients.ts";
import type { Run } from "../commands/ports.ts";
import type { Environment } from "../domain/application.ts";
import { idTokenRequest, requestIdToken } from "./id-token.ts";
import { userAgent } from "./user-agent.ts";
import { wallClock } from "./wall-clock.ts";
import { hideSecrets, workflow } from "./workflow.ts";

/** The job's credentials, and where it may ask for an OIDC token the means to renew them. */
export function awsOptions(run: Run): AwsClientOptions {
  const agent = userAgent(run);
  const { env } = process;
  const [accessKeyId, secretAccessKey] = [env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]];
  const tokenRequest = idTokenRequest(env);
  const renewable =
    tokenRequest !== undefined &&
    // With a profile the SDK does not look at the environment's key.
    env["AWS_PROFILE"] === undefined &&
    accessKeyId !== undefined &&
    secretAccessKey !== undefined;
  if (!renewable) return { userAgent: agent, clock: wallClock, onSecrets: hideSecrets };
  return {
    userAgent: agent,
    clock: wallClock,
    onSecrets: hideSecrets,
    env: { accessKeyId, secretAccessKey, sessionToken: env["AWS_SESSION_TOKEN"] },
    idToken: async (audience) => {
      const token = await requestIdToken(tokenRequest, audience, wallClock);
      hideSecrets([token]);
      return token;
    },
    roleArn: env["AWS_ROLE_ARN"],
    sessionName: `kiln-${run.id}`,
    onRenewed: (message) => workflow.notice(message),
  };
}

/** Clients for the account of an environment's targets, with session tags that say whose session it is. */
export function clientsOf(
  own: AwsClients,
  { name, roleToAssume }: Pick<Environment, "name" | "roleToAssume">,
  run: Pick<Run, "id" | "repository">,
): AwsClients {
  if (roleToAssume === undefined) return own;
  return own.as({
    arn: roleToAssume,
    sessionName: `kiln-${run.id}`,
    tags: { "kiln:repository": run.repository, "kiln:environment": name, "kiln:run": run.id },
  });
}
