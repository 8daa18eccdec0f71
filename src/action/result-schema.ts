import * as z from "zod";
import { OUTCOMES, type Result, TARGET_ENDS } from "../domain/result.ts";

/** The `result` output's one definition as a schema, published in `schemas/`; the compiler holds it to the type. */

const imageId = z.templateLiteral(["ami-", z.string()]);
const images = z.record(z.string(), imageId).describe("Region → AMI");
const outcome = z.enum(OUTCOMES);

const image = z.strictObject({
  digest: z.templateLiteral(["sha256:", z.string()]),
  name: z.string().optional(),
  ids: images.optional(),
  baked: z.boolean().optional().describe("True when this run baked it, false when it was reused"),
  commit: z.string().optional().describe("The commit that it was baked from"),
  created: z.iso.datetime().optional(),
  baseImages: images.optional(),
  phases: z
    .array(z.strictObject({ phase: z.string(), seconds: z.number().int() }))
    .optional()
    .describe("The bake's phases"),
});

const target = z.strictObject({
  region: z.string(),
  autoScalingGroup: z.string(),
  launchTemplate: z.string().optional(),
  launchTemplateVersion: z.string().optional(),
  instanceRefresh: z.string().optional(),
  adopted: z.boolean().optional().describe("True where the refresh was already running"),
  seconds: z.number().int().optional().describe("How long the refresh took"),
  verified: z.number().int().optional().describe("Instances in service that were seen to run the image"),
  ended: z.enum(TARGET_ENDS).optional().describe("Where the target ended; absent while it is under way"),
});

const environment = z.strictObject({
  environment: z.string(),
  outcome,
  release: z.string().optional().describe("The record's tag"),
  releaseNumber: z.number().int().optional(),
  previousRelease: z.string().optional(),
  previousImages: images.optional(),
  plan: z.array(z.string()).optional(),
  warnings: z.array(z.string()).optional(),
  targets: z.array(target).optional(),
  unrecorded: z.string().optional().describe("The record's message, where it could not be written"),
});

const status = z
  .strictObject({
    environment: z.string(),
    release: z.string().optional(),
    commit: z.string().optional(),
    version: z.string().optional(),
    imageId: imageId.optional(),
    baseImageDays: z.number().int().optional(),
    actor: z.string().optional(),
    since: z.iso.datetime().optional(),
    sinceText: z.string().optional(),
    capacity: z.number().int().optional(),
    inService: z.number().int().optional(),
    running: z.number().int().optional().describe("Instances in service that run the release"),
    drift: z.array(z.string()).describe("How it differs from its record, in words"),
  })
  .describe("An environment's newest record beside what AWS says now");

export const resultSchema = z
  .strictObject({
    command: z.string(),
    outcome,
    application: z.string().optional(),
    commit: z.string().optional(),
    version: z.string().optional(),
    image: image.optional(),
    environments: z.array(environment).describe("One entry for each environment that was reached, in order"),
    status: z.array(status).optional().describe("The status command's answer"),
    error: z
      .strictObject({ message: z.string(), state: z.string().optional(), next: z.string().optional() })
      .optional(),
  })
  .meta({ title: "The result output of Kiln" });

/** Does not compile where what the action publishes does not fit the schema. */
type Fits<Given extends Wanted, Wanted> = Given;
type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;
export type ResultFits = Fits<Result, DeepReadonly<z.input<typeof resultSchema>>>;
