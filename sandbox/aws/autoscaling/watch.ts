import { unitsOf } from "./member.ts";
import { serves } from "./health.ts";
import type { Group } from "./group.ts";
import type { Service } from "./service.ts";

/** How few members of a group were able to serve at any instant since the watch began. */
export interface HealthyWatch {
  lowest(): number;
  /** The same in capacity units, which differ from instances where there are weights. */
  lowestUnits(): number;
}

export interface Watch {
  lowest: number;
  lowestUnits: number;
}

export function watchGroup(service: Service, group: Group): HealthyWatch {
  const watch: Watch = { lowest: Infinity, lowestUnits: Infinity };
  group.watches.push(watch);
  observe(service, group, service.clock.now());
  return { lowest: () => watch.lowest, lowestUnits: () => watch.lowestUnits };
}

/** The timeline calls this after every change that it makes, so that what lasts no time at all is seen too. */
export function observe(service: Service, group: Group, now: number): void {
  if (group.watches.length === 0) return;
  const serving = group.members.filter((member) => serves(service.health, group, member, now));
  const units = unitsOf(serving);
  for (const watch of group.watches) {
    watch.lowest = Math.min(watch.lowest, serving.length);
    watch.lowestUnits = Math.min(watch.lowestUnits, units);
  }
}
