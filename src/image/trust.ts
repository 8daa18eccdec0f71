import { type Digest, TAG } from "../domain/image.ts";
import type { CatalogueImage } from "./catalogue.ts";

/** Whose images an application may run. */
export interface TrustedOwner {
  /** The account that owns them; undefined where AWS was asked for this account's own images only (`Owners: self`). */
  readonly account: string | undefined;
  readonly application: string;
  /** `owner/name`: the repository, and its former names. */
  readonly repositories: readonly string[];
}

/** What an image has to be, for an application to run it. */
export interface ImageClaim extends TrustedOwner {
  readonly digest: Digest;
  /** The application that a release record names; undefined where no record names the image. */
  readonly recordedApplication?: string;
}

/**
 * Says why an application must not run an image. Every command that launches or reports an image asks here: `deploy`
 * before it reuses one, `promote`, `rollback`, the check of the way back, and `status`. A record is a tag that anybody with
 * write access can make, and a digest is public, so that the image itself has to show whose it is.
 * @param image as its owner's account sees it; tags are not visible to the accounts that it is shared with
 * @returns undefined if it may be launched
 */
export function whyNotLaunchable(image: CatalogueImage | undefined, claim: ImageClaim): string | undefined {
  const { recordedApplication } = claim;
  if (recordedApplication !== undefined && recordedApplication !== claim.application)
    return `the record is of application ${recordedApplication}, not ${claim.application}`;
  if (image === undefined) return "the image is gone";
  if (claim.account !== undefined && image.owner !== claim.account)
    return `the image belongs to account ${image.owner}, not to ${claim.account}`;
  return (
    whyNotOurs(image, claim) ?? (image.state === "available" ? undefined : `the image is ${image.state}`)
  );
}

/** Says what is wrong with the tags that tell whose an image is, and that it is complete. */
function whyNotOurs({ tags }: CatalogueImage, claim: ImageClaim): string | undefined {
  const digest = tags[TAG.digest];
  if (digest === undefined || digest === "")
    return `the image is not marked complete: it has no ${TAG.digest}`;
  if (digest !== claim.digest) return `the image's ${TAG.digest} is ${digest}, not ${claim.digest}`;
  const application = tags[TAG.application];
  if (application !== claim.application)
    return `the image's ${TAG.application} is ${application ?? "not set"}, not ${claim.application}`;
  const repository = tags[TAG.repository];
  if (repository === undefined || !claim.repositories.includes(repository))
    return `the image's ${TAG.repository} is ${repository ?? "not set"}, not ${claim.repositories.join(" or ")}`;
  return undefined;
}

/** Whether an image has been marked complete, for whatever content. */
export function isMarked({ tags }: Pick<CatalogueImage, "tags">): boolean {
  return (tags[TAG.digest] ?? "") !== "";
}

/**
 * Whether an image is complete, or once was: somebody who takes the mark off, to keep an image out of Kiln's hands, leaves
 * what Kiln wrote together with it. Such an image is never removed as one that a bake did not complete.
 */
export function wasCompleted(image: Pick<CatalogueImage, "tags" | "lastLaunched">): boolean {
  return isMarked(image) || image.tags[TAG.baseImage] !== undefined || image.lastLaunched !== undefined;
}

/** Whether an image's tags name another application, repository or content; missing tags contradict nothing. */
export function contradicts(
  { tags }: Pick<CatalogueImage, "tags">,
  { application, repositories, digest }: Pick<ImageClaim, "application" | "repositories" | "digest">,
): boolean {
  const differs = (key: string, allowed: readonly string[]): boolean => {
    const value = tags[key];
    return value !== undefined && !allowed.includes(value);
  };
  return (
    differs(TAG.application, [application]) ||
    differs(TAG.repository, repositories) ||
    differs(TAG.digest, [digest])
  );
}
