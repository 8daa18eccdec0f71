import * as z from "zod";
import { parseDuration } from "../domain/duration.ts";
import { isRecordPrefix, isRefSegment } from "../domain/release-tag.ts";
import { isRepositoryPath } from "../domain/repository-path.ts";
import { readBranchPattern } from "./branch-pattern.ts";
import { patternProblem } from "./patterns.ts";

/** The kinds of values that the config file's keys take. */

const MAX_DELAY_SECONDS = 172_800;

export const duration = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, "must be a duration such as 90s, 10m, 12h or 30d");

/** A duration that AWS takes in whole seconds, up to 48 hours. */
export const apiDuration = duration.refine(
  (text) => (parseDuration(text) ?? 0) <= MAX_DELAY_SECONDS * 1000,
  "must be at most 48h, the longest that AWS takes",
);

export const segment = z
  .string()
  .refine(
    isRefSegment,
    "must be usable as one segment of a git ref: at most 100 letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'",
  );

export const recordPrefix = z
  .string()
  .refine(
    isRecordPrefix,
    "must be one to five segments of a git ref, such as release or release/api, together at most 150 characters: each of letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'",
  );

export const repositoryPath = z
  .string()
  .min(1, "must not be empty")
  .refine(isRepositoryPath, "must be a path inside the repository, relative to its root");

/** A glob that cannot hold a run up. */
export const pattern = z.string().superRefine((text, context) => {
  const message = patternProblem(text);
  if (message !== undefined) context.addIssue({ code: "custom", message });
});

/** A pattern of branches, as in a workflow's `on.push.branches`. */
export const branchPattern = z.string().superRefine((text, context) => {
  const read = readBranchPattern(text);
  if (typeof read === "string") context.addIssue({ code: "custom", message: read });
});

export const percentage = (minimum: number, maximum: number) =>
  z
    .number()
    .int("must be a whole number of percent")
    .min(minimum, `must be ${minimum} to ${maximum} percent`)
    .max(maximum, `must be ${minimum} to ${maximum} percent`);

/** What two keys together get wrong: where it is told, and how. */
export type Contradiction = readonly [path: readonly (string | number)[], message: string];
