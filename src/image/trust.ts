import { type Digest, TAG } from "../domain/image.ts";
import type { CatalogueImage } from "./catalogue.ts";

/**
 * Why an image that a record names must not be launched, or undefined where it may: a record is a tag that anybody with
 * write access can make, so the image's owner and digest are checked against the account itself.
 * @param image as the account that is to launch it sees it; undefined where it sees none
 * @param account the account that is trusted to own images
 */
export function whyNotLaunchable(
  image: CatalogueImage | undefined,
  claimed: { readonly digest: Digest; readonly account: string },
): string | undefined {
  if (image === undefined) return "the image is gone";
  if (image.owner !== claimed.account)
    return `the image belongs to account ${image.owner}, not to ${claimed.account}`;
  const digest = image.tags[TAG.digest];
  if (digest !== claimed.digest)
    return `the image's ${TAG.digest} is ${digest ?? "not set"}, the record says ${claimed.digest}`;
  return image.state === "available" ? undefined : `the image is ${image.state}`;
}
