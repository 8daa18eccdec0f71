import { markdownTable } from "markdown-table";
import type { PruneAction, PruneResult } from "../domain/result.ts";

/**
 * The images that something was done with, or is to be done, as a table for the log and the summary.
 * @param planned true for a dry run: nothing of it was done
 * @param escape makes text from outside harmless where the table is rendered
 */
export function retirementTable(
  { images }: PruneResult,
  planned: boolean,
  escape: (text: string) => string = (text) => text.replaceAll("|", "/"),
): string {
  return markdownTable([
    ["Region", "Image", "Name", "Age", "Snapshots", "What", "Why"],
    ...images.map(({ region, imageId, name, days, gigabytes, action, why, failed }) =>
      [
        region,
        imageId,
        name,
        `${days} ${days === 1 ? "day" : "days"}`,
        `${gigabytes} GB`,
        failed === undefined ? (planned ? PLANNED : DONE)[action] : `not ${DONE[action]}: ${failed}`,
        why,
      ].map(escape),
    ),
  ]);
}

const DONE: Readonly<Record<PruneAction, string>> = {
  deprecated: "deprecated",
  deregistered: "deregistered",
  restored: "no longer deprecated",
  protected: "protected from deregistration",
  waiting: "waits",
};

const PLANNED: Readonly<Record<PruneAction, string>> = {
  deprecated: "to be deprecated",
  deregistered: "to be deregistered",
  restored: "to be deprecated no longer",
  protected: "to be protected from deregistration",
  waiting: "waits",
};
