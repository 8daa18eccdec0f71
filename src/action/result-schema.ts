import * as z from "zod";
import { OUTCOMES, PRUNE_ACTIONS, type Result, TARGET_ENDS } from "../domain/result.ts";

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

const named = z.strictObject({ name: z.string(), version: z.string() });
const fromTo = z.strictObject({ from: z.string(), to: z.string() });

const counts = z.strictObject({
  changed: z.number().int(),
  added: z.number().int(),
  removed: z.number().int(),
});

const changes = z
  .strictObject({
    since: z.string().describe("The record that it is compared with"),
    sameContent: z.boolean(),
    commits: z
      .strictObject({
        added: z.number().int(),
        takenBack: z.number().int(),
        listed: z.enum(["added", "takenBack"]).describe("Which of them are listed"),
        newest: z.array(z.strictObject({ commit: z.string(), subject: z.string() })),
        url: z.string(),
      })
      .optional(),
    content: z
      .strictObject({
        counts,
        changed: z.array(z.string()),
        added: z.array(z.string()),
        removed: z.array(z.string()),
        variables: z.array(z.string()),
      })
      .optional()
      .describe("Files that decide the content, the first of each, and variables"),
    packages: z
      .strictObject({
        counts,
        changed: z.array(z.strictObject({ name: z.string(), from: z.string(), to: z.string() })),
        added: z.array(named),
        removed: z.array(named),
      })
      .optional()
      .describe("The first of each; the counts are of all"),
    baseImage: z.strictObject({ from: imageId, to: imageId }).optional(),
    targets: z
      .array(
        z.strictObject({ target: z.string(), image: fromTo.optional(), instanceType: fromTo.optional() }),
      )
      .optional(),
  })
  .describe("What the release changes against the one before it, as far as it is known");

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
  changes: changes.optional(),
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
    baseImage: z
      .string()
      .optional()
      .describe("How old the base image is, and whether a newer one is to be had"),
    actor: z.string().optional(),
    since: z.iso.datetime().optional(),
    sinceText: z.string().optional(),
    capacity: z.number().int().optional(),
    inService: z.number().int().optional(),
    running: z.number().int().optional().describe("Instances in service that run the release"),
    drift: z.array(z.string()).describe("How it differs from its record, in words"),
  })
  .describe("An environment's newest record beside what AWS says now");

const prune = z
  .strictObject({
    images: z
      .array(
        z.strictObject({
          region: z.string(),
          imageId,
          name: z.string(),
          action: z.enum(PRUNE_ACTIONS),
          why: z.string(),
          days: z.number().int().describe("The image's age"),
          gigabytes: z.number().int().describe("Of its snapshots"),
          failed: z.string().optional().describe("Why it could not be done"),
        }),
      )
      .describe("Images that are not simply kept, and what was done; in a dry run, what would be"),
    kept: z.number().int().describe("Images of the application that stay"),
    gigabytes: z.number().int().describe("Of the snapshots that went, or in a dry run would go"),
  })
  .describe("What became of the application's images");

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
    prune: prune.optional().describe("The prune command's answer"),
    cut: z
      .literal(true)
      .optional()
      .describe("Lists or texts were shortened: the whole would have been too long for an output"),
    error: z
      .strictObject({ message: z.string(), state: z.string().optional(), next: z.string().optional() })
      .optional(),
  })
  .meta({ title: "The result output of Kiln" });

/** Does not compile where what the action publishes does not fit the schema. */
type Fits<Given extends Wanted, Wanted> = Given;
type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;
export type ResultFits = Fits<Result, DeepReadonly<z.input<typeof resultSchema>>>;
