import type { ImageId } from "./image.ts";

/** What a release changes against the environment's release before it; each part as far as it is known. */
export interface ReleaseChanges {
  /** The record that it is compared with. */
  readonly since: string;
  /** Both images were made of the same files and variables. */
  readonly sameContent: boolean;
  readonly commits?: CommitChanges;
  readonly content?: ContentChanges;
  readonly packages?: PackageChanges;
  /** In the first target's region. */
  readonly baseImage?: { readonly from: ImageId; readonly to: ImageId };
  /** Fields of the launch templates. */
  readonly targets?: readonly TargetChange[];
}

export interface CommitChanges {
  /** Commits that the release brings. */
  readonly added: number;
  /** Commits that the environment had and the release does not. */
  readonly takenBack: number;
  /** Which of them `newest` lists: a rollback's are those that it takes back. */
  readonly listed: "added" | "takenBack";
  /** Newest first. */
  readonly newest: readonly { readonly commit: string; readonly subject: string }[];
  /** GitHub's page of the comparison. */
  readonly url: string;
}

/** What of the digest's list is different. */
export interface ContentChanges {
  readonly counts: { readonly changed: number; readonly added: number; readonly removed: number };
  /** Paths, sorted; in a result the first of each. */
  readonly changed: readonly string[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Names of variables, with what became of them. */
  readonly variables: readonly string[];
}

export interface PackageChanges {
  readonly counts: { readonly changed: number; readonly added: number; readonly removed: number };
  /** The first of each, sorted. */
  readonly changed: readonly { readonly name: string; readonly from: string; readonly to: string }[];
  readonly added: readonly { readonly name: string; readonly version: string }[];
  readonly removed: readonly { readonly name: string; readonly version: string }[];
}

export interface TargetChange {
  /** `eu-west-1/web-production`. */
  readonly target: string;
  readonly image?: { readonly from: string; readonly to: string };
  readonly instanceType?: { readonly from: string; readonly to: string };
}
