import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import type { AwsClients } from "../aws/clients.ts";
import type { Application } from "../domain/application.ts";
import type { ImageClaim, TrustedOwner } from "../image/trust.ts";
import type { ReleaseRecord } from "../release/record.ts";
import type { Ports, Run } from "./ports.ts";

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

/** For which application and repository a command works. */
export interface OwnerRequest {
  readonly application: Pick<Application, "name" | "image">;
  readonly run: Pick<Run, "repository">;
}

/** The repository, and its former names: images that were baked under them are its own. */
export function repositoriesOf({ application, run }: OwnerRequest): readonly string[] {
  return [run.repository, ...(application.image.formerRepositories ?? [])];
}

/** Whose images this application may run. */
export function trustedOwner(request: OwnerRequest, account: string): TrustedOwner {
  return { account, application: request.application.name, repositories: repositoriesOf(request) };
}

/** What an image has to be that a record names. */
export function claimOf(record: ReleaseRecord, request: OwnerRequest, account: string): ImageClaim {
  const { imageDigest: digest, application: recordedApplication } = record;
  return { ...trustedOwner(request, account), digest, recordedApplication };
}
