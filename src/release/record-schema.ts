import * as z from "zod";
import { RELEASE_KINDS, type ReleaseRecord, SMOKE_TEST_RESULTS } from "./record.ts";

/** A record as data, published in `schemas/`; the compiler holds it to the type that the parser gives. */

const images = z.record(z.string(), z.templateLiteral(["ami-", z.string()])).describe("Region → AMI");
const optional = z.string().optional();

export const recordSchema = z
  .strictObject({
    application: z.string(),
    tag: z.strictObject({ prefix: z.string(), environment: z.string(), number: z.number().int().min(1) }),
    kind: z.enum(RELEASE_KINDS),
    commit: z.string().describe("The commit whose content is released"),
    version: z.string(),
    images,
    imageName: z.string(),
    imageDigest: z.templateLiteral(["sha256:", z.string()]),
    imageCommit: z.string().describe("The commit that the image was baked from"),
    baseImages: images,
    inventory: optional.describe(
      "The commit that holds what git keeps of the image: packages.txt, content.txt, image.json",
    ),
    targets: z.array(
      z.strictObject({
        region: z.string(),
        group: z.string(),
        launchTemplate: z.string(),
        version: z.string(),
      }),
    ),
    verified: z
      .strictObject({ count: z.number().int().min(0), of: z.number().int().min(0) })
      .optional()
      .describe("How many of the instances in service were seen to run the image"),
    smokeTest: z.enum(SMOKE_TEST_RESULTS).optional().describe("What came of the smoke test"),
    previous: optional.describe("The record's tag that this one follows"),
    restores: optional.describe("Rollback: the record whose image is restored"),
    promotedFrom: optional.describe("Promotion: the record that the image is taken from"),
    reason: optional,
    actor: z.string(),
    run: z.string(),
    started: z.iso.datetime(),
    finished: z.iso.datetime(),
  })
  .meta({ title: "A release's record" });

/** A record with its times as text, as JSON has them. */
export type RecordAsData = {
  readonly [Key in keyof ReleaseRecord]: ReleaseRecord[Key] extends Date ? string : ReleaseRecord[Key];
};

type Fits<Given extends Wanted, Wanted> = Given;
type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;
export type RecordFits = Fits<RecordAsData, DeepReadonly<z.input<typeof recordSchema>>>;
