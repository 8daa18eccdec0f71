import { environmentsForBranch, matchesBranch } from "../config/branches.ts";
import { loadConfig, repositoryPath } from "../config/load.ts";
import { type Application, DEFAULT_STRATEGY, type Environment } from "../domain/application.ts";
import { InvalidInputError, KilnError, type Problem } from "../domain/errors.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { DEFAULT_RECORD_PREFIX, isRefSegment } from "../domain/release-tag.ts";
import type { Checkout, Push } from "./checkout.ts";
import { DEFAULT_CONFIG, type Inputs } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/**
 * The application: from the config file, or from the step's own inputs.
 * @throws InvalidInputError with every problem of the file or the inputs
 */
export async function resolveApplication(
  inputs: Inputs,
  runner: Runner,
  readText: (path: string) => Promise<string>,
): Promise<Application> {
  const defaultName = runner.run.repository.split("/")[1] ?? "";
  if (inputs.inline === undefined) {
    const { config } = inputs;
    return loadConfig(await readText(config), config, config === DEFAULT_CONFIG ? defaultName : undefined);
  }
  const { inline } = inputs;
  const name = inline.application ?? defaultName;
  const environment = inputs.environment ?? "";
  const problems: Problem[] = [["application", name] as const, ["environment", environment] as const].flatMap(
    ([input, value]) =>
      isRefSegment(value)
        ? []
        : [
            {
              where: `input ${input}`,
              message: `"${value}" cannot be a segment of a git ref: at most 100 letters, digits, '.', '_' and '-' only, not beginning with '.' or '-'`,
            },
          ],
  );
  if (problems.length > 0) throw new InvalidInputError(problems);
  return {
    name,
    recordPrefix: DEFAULT_RECORD_PREFIX,
    image: {
      template: repositoryPath(inline.template),
      inputs: undefined,
      vars: {},
      varFiles: [],
      maxAge: undefined,
    },
    environments: [
      {
        name: environment,
        branches: [],
        requires: undefined,
        instanceType: undefined,
        targets: [{ region: inline.region, autoScalingGroup: inline.autoScalingGroup }],
        rollout: { strategy: inline.strategy ?? DEFAULT_STRATEGY },
      },
    ],
  };
}

/**
 * The environments that this run serves: the one that is named, else those whose branches match the pushed one.
 * @param push the push that the run is for; undefined where it is for none
 * @param event what started the run, for the message
 * @throws InvalidInputError where the name is unknown, or nothing says which
 */
export function selectEnvironments(
  application: Application,
  inputs: Inputs,
  push: Push | undefined,
  event: string,
): readonly Environment[] {
  const names = application.environments.map((environment) => environment.name);
  if (inputs.environment !== undefined) {
    const found = application.environments.find((environment) => environment.name === inputs.environment);
    if (found !== undefined) return [found];
    throw new InvalidInputError([
      {
        where: "input environment",
        message: `there is no environment "${inputs.environment}" in ${inputs.config}; did you mean "${nearestName(inputs.environment, names)}"? There are: ${names.join(", ")}`,
      },
    ]);
  }
  // What runs where is asked of all; releases go to those that the push is for.
  if (inputs.command === "status" || inputs.command === "prune") return application.environments;
  if (push !== undefined)
    return push.branch === undefined ? [] : environmentsForBranch(application, push.branch);
  const but =
    event === "workflow_run"
      ? ", unless the other workflow ran for a push, and actions/checkout has `ref: ${{ github.event.workflow_run.head_sha }}`"
      : "";
  throw new InvalidInputError([
    {
      where: "input environment",
      message: `is missing: on ${event} nothing else says which environment to release to${but}. There are: ${names.join(", ")}`,
    },
  ]);
}

/**
 * Why some of the environments may not get what is checked out: it is on no branch that they list. An environment that
 * lists none takes all.
 * @param ref the run's own, for the message
 */
export function unlistedBranch(
  environments: readonly Environment[],
  checkout: Checkout,
  ref: string,
): KilnError | undefined {
  const { branch } = checkout;
  const refusing = environments.filter(
    ({ branches }) => branches.length > 0 && (branch === undefined || !matchesBranch(branches, branch)),
  );
  if (refusing.length === 0) return undefined;
  const lists = refusing.map(({ name, branches }) => `${name} takes only ${branches.join(", ")}`);
  const [what, next] =
    branch === undefined ? notOnABranch(checkout, ref) : [`this is the branch ${branch}`, undefined];
  return new KilnError(`${lists.join("; ")}, and ${what}`, {
    state: "Nothing was changed.",
    next: `${next ?? "Release it from a branch that the environment lists."} If it is meant to be released from here, set \`any-branch: true\`.`,
  });
}

/** What is released, in words, and what to do about it. */
function notOnABranch({ commit, candidates }: Checkout, ref: string): readonly [string, string | undefined] {
  if (candidates.length === 0) return [`${ref} is no branch`, undefined];
  return [
    `commit ${commit.slice(0, 12)}, which is checked out, is not on ${candidates.join(" or ")} on GitHub`,
    "Check out a branch that the environment lists, or its commit. If the commit was made in this job, push it first.",
  ];
}
