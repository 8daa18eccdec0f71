import type { Secrets } from "../domain/secrets.ts";
import type { Facts } from "../commands/ports.ts";
import { shortened } from "../domain/printable.ts";
import type { EnvironmentResult, Outcome, Result } from "../domain/result.ts";
import { workflow } from "./workflow.ts";

/** The outputs that a result means, by name, as in action.yml. */
export function outputsOf(result: Result): Readonly<Record<string, string>> {
  const reached = result.environments.at(-1);
  const { image } = result;
  const firstRegion = reached?.targets?.[0]?.region;
  const imageId = image?.ids?.[firstRegion ?? ""] ?? Object.values(image?.ids ?? {})[0];
  const refreshes = result.environments.flatMap((environment) =>
    (environment.targets ?? []).flatMap(({ region, autoScalingGroup, instanceRefresh }) =>
      instanceRefresh === undefined
        ? []
        : [
            {
              environment: environment.environment,
              region,
              "auto-scaling-group": autoScalingGroup,
              id: instanceRefresh,
            },
          ],
    ),
  );
  const outputs: Record<string, string | undefined> = {
    outcome: result.outcome,
    environment: reached?.environment,
    release: reached?.release,
    "release-number": reached?.releaseNumber?.toString(),
    "previous-release": reached?.previousRelease,
    commit: result.commit,
    version: result.version,
    "image-id": imageId,
    images: image?.ids && JSON.stringify(image.ids),
    "image-name": image?.name,
    "image-digest": image?.digest,
    baked: image?.baked?.toString(),
    "instance-refreshes": refreshes.length > 0 ? JSON.stringify(refreshes) : undefined,
    result: JSON.stringify(fitting(result)),
  };
  return Object.fromEntries(
    Object.entries(outputs).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Characters of the result as an output; all outputs of a job together may have 1 MB (GitHub: usage limits). */
const MAX_RESULT = 300_000;
/** Entries of a list, and characters of a text, where the whole is too long. */
const MAX_ENTRIES = 100;
const MAX_TEXT = 1000;

/** The result, or where it is too long for an output what fits of it. */
function fitting(result: Result): Result {
  if (JSON.stringify(result).length <= MAX_RESULT) return result;
  const cut = { ...(bounded(result) as Result), cut: true } as const;
  if (JSON.stringify(cut).length <= MAX_RESULT) return cut;
  const { command, outcome, application, commit, version, error } = cut;
  const least = { command, outcome, application, commit, version, error };
  return { ...(JSON.parse(JSON.stringify(least)) as Result), environments: [], cut: true };
}

/** Plain data with shorter lists and texts, all the way down. */
function bounded(value: unknown): unknown {
  if (typeof value === "string") return shortened(value, MAX_TEXT);
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map(bounded);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, bounded(inner)]));
}

/**
 * Characters that are written for `result` while a run goes on: it is written whole with each change, and a run may have
 * thousands. Over that it is written when there is an outcome.
 */
const MAX_WRITTEN = 20_000_000;
/**
 * What is a name or an id: there, three characters that happen to be a secret's are no secret. The secrets that are given
 * are compared with all that names are made of before anything is done.
 */
const FACTS: ReadonlySet<string> = new Set([
  "command",
  "outcome",
  "application",
  "environment",
  "commit",
  "digest",
  "ids",
  "images",
  "imageId",
  "baseImages",
  "previousImages",
  "release",
  "previousRelease",
  "since",
  "region",
  "autoScalingGroup",
  "launchTemplate",
  "instanceRefresh",
  "ended",
  "action",
  "created",
  "name",
  "version",
]);

/** A value's texts without secrets, all the way down. */
function withoutSecrets<T>(value: T, secrets: Secrets, isFact = false): T {
  if (typeof value === "string") return (isFact ? secrets.redactFact(value) : secrets.redact(value)) as T;
  if (Array.isArray(value)) return value.map((each) => withoutSecrets<unknown>(each, secrets, isFact)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      withoutSecrets<unknown>(inner, secrets, isFact || FACTS.has(key)),
    ]),
  ) as T;
}

/** The facts of a run: every change is set as outputs at once, so that they are there also when a later step fails. */
export class PublishedFacts implements Facts {
  #result: Result;
  readonly #secrets: Secrets;
  readonly #set = new Map<string, string>();
  #written = 0;

  /** @param secrets left out of all that is published; what comes to them later, of what is published from then on */
  constructor(command: string, secrets: Secrets) {
    this.#secrets = secrets;
    this.#result = { command, outcome: "failed", environments: [] };
    this.#write(true);
  }

  get result(): Result {
    return this.#result;
  }

  publish(found: Partial<Omit<Result, "environments">>): void {
    const facts = withoutSecrets(found, this.#secrets);
    const image = facts.image === undefined ? {} : { image: { ...this.#result.image, ...facts.image } };
    this.#result = { ...this.#result, ...facts, ...image };
    this.#write(facts.outcome !== undefined);
  }

  publishEnvironment(environment: string, found: Partial<Omit<EnvironmentResult, "environment">>): void {
    const { environments } = this.#result;
    const facts = withoutSecrets(found, this.#secrets);
    const known = environments.find((entry) => entry.environment === environment);
    const entry: EnvironmentResult = { outcome: "failed", ...known, ...facts, environment };
    this.#result = {
      ...this.#result,
      environments:
        known === undefined
          ? [...environments, entry]
          : environments.map((other) => (other === known ? entry : other)),
    };
    this.#write(facts.outcome !== undefined);
  }

  #write(isOutcome: boolean): void {
    const outputs = outputsOf(this.#result);
    // What was a fact of the environment before is none of this one.
    const gone = [...this.#set.keys()].filter((name) => !Object.hasOwn(outputs, name));
    for (const [name, value] of [...Object.entries(outputs), ...gone.map((name) => [name, ""] as const)]) {
      if (this.#set.get(name) === value) continue;
      if (name === "result" && this.#written > MAX_WRITTEN && !isOutcome) continue;
      this.#written += value.length;
      this.#set.set(name, value);
      workflow.setOutput(name, value);
    }
  }
}

/** A run's outcome from its environments': the worst that happened, else whether anything was done. */
export function overallOutcome(result: Result): Outcome {
  const outcomes = new Set(result.environments.map((environment) => environment.outcome));
  const order: readonly Outcome[] = ["failed", "rolled-back", "succeeded", "planned", "unchanged"];
  return order.find((outcome) => outcomes.has(outcome)) ?? result.outcome;
}
