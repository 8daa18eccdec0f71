/** The ReplaceRootVolume strategy of an instance refresh. User guide, Replace root volumes during instance refresh. */
import { templatesOf } from "./configuration.ts";
import { invalid } from "./constraints.ts";
import { launchingConfiguration, liveMembers } from "./group.ts";
import { weightOf } from "./member.ts";
import { replaceRootVolume } from "./root-volume.ts";
import { boundsOf } from "./survey.ts";
import { matcher, variantsOf } from "./target.ts";
import { terminateMember } from "./termination.ts";
import type { Configuration } from "./configuration.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";
import type { Survey } from "./survey.ts";
import type { Variant } from "./target.ts";

/**
 * Refuses the start where a requirement or a limitation of that page is not met; texts and code are not documented. That
 * an image has only one volume is not checked: the sandbox's fleet does not tell.
 */
export function checkRootVolumes(service: Service, group: Group, desired: Configuration | undefined): void {
  const refuse = (why: string) => invalid(`The ReplaceRootVolume strategy is not available: ${why}`);
  const saved = group.configuration;
  if (saved.mixedInstancesPolicy === undefined)
    throw refuse("the Auto Scaling group must use a mixed instances policy.");
  if (desired?.mixedInstancesPolicy === undefined)
    throw refuse("the desired configuration must contain a mixed instances policy.");
  const overrides = desired.mixedInstancesPolicy.launchTemplate.overrides ?? [];
  if (overrides.length === 0 || overrides.some((override) => override.imageId === undefined))
    throw refuse("all overrides of the mixed instances policy must specify an ImageId.");
  if ([...templatesOf(saved), ...templatesOf(desired)].some(({ version }) => !/^\d+$/.test(version)))
    throw refuse("the launch template version must not be $Latest or $Default.");
  if (group.warmPool !== undefined) throw refuse("the Auto Scaling group has a warm pool.");
  if (group.targetGroupArns.length + group.loadBalancerNames.length > 0)
    throw refuse("Elastic Load Balancing is not supported.");
  const matches = matcher(service, group.place, saved);
  const types = new Set(overrides.map((override) => override.instanceType));
  if (!liveMembers(group).every((member) => matches(member) && types.has(member.instanceType)))
    throw refuse("all instances must match the launch template configuration of the group.");
}

/**
 * Takes as many instances as the minimum allows. No instance can be launched first here, so where the minimum allows
 * none, one goes all the same; what AWS does then is not documented.
 */
export function stepRootVolumes(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  seen: Survey,
  allowance: number,
  now: number,
): boolean {
  const isQuiet = seen.pending === 0 && seen.terminating === 0;
  const { floor } = boundsOf(service, group, refresh);
  let left = Math.min(Math.max(isQuiet ? 1 : 0, seen.ready - floor), allowance);
  const chosen: Member[] = seen.idle.filter((member) => member.lifecycleState === "InService");
  for (const member of seen.victims) {
    if (left <= 0) break;
    left -= weightOf(member);
    chosen.push(member);
  }
  const variants = variantsOf(service, group.place, launchingConfiguration(group));
  for (const member of chosen) renew(service, group, member, variants, now);
  if (chosen.length === 0 && isQuiet) refresh.engine.stuckSince ??= now;
  return chosen.length > 0;
}

function renew(
  service: Service,
  group: Group,
  member: Member,
  variants: readonly Variant[],
  now: number,
): void {
  const variant = variants.find(
    ({ instanceType }) => instanceType === undefined || instanceType === member.instanceType,
  );
  if (variant?.imageId === undefined) terminateMember(service, group, member, now, "an instance refresh");
  else replaceRootVolume(service, group, member, { ...variant, imageId: variant.imageId }, now);
}
