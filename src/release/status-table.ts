import { markdownTable } from "markdown-table";
import type { StatusResult } from "../domain/result.ts";

/**
 * What runs where, as a table for the log and the summary.
 * @param escape makes text from outside harmless where the table is rendered
 */
export function statusTable(
  entries: readonly StatusResult[],
  escape: (text: string) => string = (text) => text.replaceAll("|", "/"),
): string {
  return markdownTable([
    [
      "Environment",
      "Release",
      "Version",
      "Commit",
      "Image",
      "Base image",
      "By",
      "Since",
      "Instances",
      "Drift",
    ],
    ...entries.map((entry) =>
      [
        entry.environment,
        entry.release ?? "none",
        entry.version ?? "",
        entry.commit?.slice(0, 12) ?? "",
        entry.imageId ?? "",
        entry.baseImage?.replace(/^base image (?:is )?/, "") ?? "",
        entry.actor ?? "",
        entry.sinceText ?? "",
        entry.inService === undefined ? "" : `${entry.running ?? 0} of ${entry.inService} run it`,
        entry.drift.length === 0 ? "none" : entry.drift.join("; "),
      ].map(escape),
    ),
  ]);
}
