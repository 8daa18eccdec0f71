import type { InstanceRefresh, InstanceRefreshStatus } from "@aws-sdk/client-auto-scaling";

/** What a described instance refresh means for the release. */
export type Verdict =
  | { readonly kind: "pending"; readonly rollingBack: boolean }
  | { readonly kind: "succeeded" }
  /** Ended with the group's instances mixed or unknown; the group's saved configuration is the old one. */
  | { readonly kind: "failed"; readonly why: string }
  /** The way back failed too: the worst case, in which nobody knows without looking what runs where. */
  | { readonly kind: "rollback-failed"; readonly why: string }
  /** Ended with everything on the old configuration again: a failed release. */
  | { readonly kind: "rolled-back"; readonly why: string };

/** A verdict that does not change any more. */
export type FinalVerdict = Exclude<Verdict, { kind: "pending" }>;

/**
 * The verdict on a refresh: its status decides, never a percentage or a count, which reach their ends before the
 * refresh does (user guide: check the status of an instance refresh). A status that this version does not know counts
 * as pending: the timeout ends it.
 */
export function verdictOf(refresh: InstanceRefresh): Verdict {
  const why = refresh.RollbackDetails?.RollbackReason ?? refresh.StatusReason ?? "AWS gives no reason";
  const status = refresh.Status;
  if (status === undefined) return { kind: "pending", rollingBack: false };
  const verdict = VERDICTS[status] as ((why: string) => Verdict) | undefined;
  return verdict?.(why) ?? { kind: "pending", rollingBack: false };
}

const pending = (rollingBack: boolean) => (): Verdict => ({ kind: "pending", rollingBack });
const failed = (why: string): Verdict => ({ kind: "failed", why });

/** One entry a status, so that a status new to the SDK does not compile until it is decided. */
const VERDICTS: Readonly<Record<InstanceRefreshStatus, (why: string) => Verdict>> = {
  Pending: pending(false),
  InProgress: pending(false),
  Baking: pending(false),
  Cancelling: pending(false),
  RollbackInProgress: pending(true),
  Successful: () => ({ kind: "succeeded" }),
  Failed: failed,
  Cancelled: (why) =>
    failed(
      `the instance refresh was cancelled, and not by this run: CloudTrail names who (CancelInstanceRefresh). When it was: ${why}`,
    ),
  RollbackFailed: (why) => ({ kind: "rollback-failed", why }),
  RollbackSuccessful: (why) => ({ kind: "rolled-back", why }),
};
