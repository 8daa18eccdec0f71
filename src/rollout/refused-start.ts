import { type Target, targetName } from "../domain/application.ts";
import { KilnError, RemoteError } from "../domain/errors.ts";
import { printable } from "../domain/printable.ts";
import { remedyFor } from "./known-causes.ts";

/** AWS's own reasons for not starting an instance refresh; those of the launch itself are known causes. */
const REASONS: readonly { readonly text: RegExp; readonly next: string }[] = [
  {
    // "The AutoScaling group may not be modified while it is pending delete"
    text: /pending delete|being deleted|Delete in progress/i,
    next: "The group is being deleted. Take the target out of the config file, or name the group that replaces it.",
  },
  {
    text: /AutoScalingGroup name not found|Group .*not found/i,
    next: "The group was deleted meanwhile. Take the target out of the config file, or name the group that replaces it.",
  },
  {
    text: /alarm/i,
    next: "Wait until the alarms in the rollout's `alarms` are OK, or correct their names, then run the job again.",
  },
  {
    text: /LimitExceeded|maximum number of/i,
    next: "Ask for more in Service Quotas (Amazon EC2 Auto Scaling), then run the job again.",
  },
];

/**
 * The error for a refresh that AWS refused to start. Errors with a remedy of their own (a denial, expired credentials) and
 * those of others stay as they are.
 */
export function refusedStart(target: Target, error: unknown): unknown {
  if (!(error instanceof RemoteError) || error.next !== undefined) return error;
  const said = error.cause instanceof Error ? `${error.code}: ${error.cause.message}` : error.message;
  return new KilnError(`${targetName(target)}: AWS refused to start the instance refresh: ${oneLine(said)}`, {
    state:
      "No instance of this target was replaced: the group runs what it ran before. The release's launch template version is kept, and used again.",
    next:
      REASONS.find(({ text }) => text.test(said))?.next ??
      remedyFor(said) ??
      "Correct what AWS names in the group or its launch template, then run the job again.",
    cause: error,
  });
}

const oneLine = (text: string): string => printable(text.replace(/\s+/g, " ").trim());
