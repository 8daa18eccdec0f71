import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import type { AwsClients } from "../aws/clients.ts";
import type { Ports } from "./ports.ts";

const KNOWN = new WeakMap<AwsClients, Map<string, Promise<string>>>();

/**
 * The account that the credentials are for: the one whose images are trusted. Asked once a region; the answer also names
 * the role, which is what expired credentials can be renewed by.
 */
export function ownAccount(region: string, { aws }: Pick<Ports, "aws">): Promise<string> {
  const regions = KNOWN.get(aws) ?? new Map<string, Promise<string>>();
  KNOWN.set(aws, regions);
  const known = regions.get(region) ?? ask(aws, region);
  regions.set(region, known);
  // What could not be found out is asked again.
  known.catch(() => regions.delete(region));
  return known;
}

async function ask(aws: AwsClients, region: string): Promise<string> {
  const sts = await aws.sts(region);
  const { Account } = await sts.send(new GetCallerIdentityCommand({}));
  return Account ?? "";
}
