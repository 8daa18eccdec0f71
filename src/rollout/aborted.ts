import type { AwsClients } from "../aws/clients.ts";
import { type Target, targetName } from "../domain/application.ts";
import { imagesOfVersions } from "./launch-template.ts";
import { describeById, templateOf } from "./refresh.ts";

/** A refresh that is said to have been rolled back. */
export interface AbortClaim {
  readonly target: Target;
  readonly refresh: string;
  /** What it is said to have been bringing. */
  readonly image: string;
}

/** When the refresh must have run. */
export interface AbortWindow {
  /** It began after this. */
  readonly since: Date;
  /** It ended after this. */
  readonly notBefore: Date;
}

/** Milliseconds by which the runner's clock and AWS's may differ. */
const CLOCK_SKEW = 60_000;

/** Why AWS does not bear out that a release was aborted on a target; `undefined` if it does. Two requests. */
export async function whyNotAborted(
  clients: AwsClients,
  { target, refresh: id, image }: AbortClaim,
  { since, notBefore }: AbortWindow,
): Promise<string | undefined> {
  const name = `the instance refresh ${id} of ${targetName(target)}`;
  const refresh = await describeById(await clients.autoScaling(target.region), target, id);
  if (refresh === undefined) return `AWS does not show ${name}`;
  const { Status = "?", StartTime, EndTime, DesiredConfiguration = {} } = refresh;
  if (Status !== "RollbackSuccessful" && Status !== "RollbackInProgress")
    return `${name} was not rolled back: it is ${Status}`;
  if (StartTime === undefined || StartTime.getTime() < since.getTime() - CLOCK_SKEW)
    return `${name} began before the newest release was recorded`;
  if (EndTime !== undefined && EndTime < notBefore) return `${name} ended long ago`;
  const { LaunchTemplateId: template, Version: version } = templateOf(DesiredConfiguration) ?? {};
  if (template === undefined || version === undefined) return `${name} brought no launch template version`;
  const images = await imagesOfVersions(await clients.ec2(target.region), template, [version]);
  const brought = images.get(`${template}@${version}`) ?? "an image that cannot be read";
  return brought === image ? undefined : `${name} was to bring ${brought}, not ${image}`;
}
