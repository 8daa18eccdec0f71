import type { Run } from "../commands/ports.ts";
import { environmentsForBranch } from "../config/branches.ts";
import { loadConfig, repositoryPath } from "../config/load.ts";
import { type Application, DEFAULT_STRATEGY, type Environment } from "../domain/application.ts";
import { InvalidInputError, type Problem } from "../domain/errors.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { DEFAULT_RECORD_PREFIX, isRefSegment } from "../domain/release-tag.ts";
import type { Inputs } from "./inputs.ts";
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
  if (inputs.inline === undefined)
    return loadConfig(await readText(inputs.config), inputs.config, defaultName);
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
 * @throws InvalidInputError where the name is unknown, or nothing says which
 */
export function selectEnvironments(
  application: Application,
  inputs: Inputs,
  run: Run,
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
  if (run.event === "push")
    return run.branch === undefined ? [] : environmentsForBranch(application, run.branch);
  throw new InvalidInputError([
    {
      where: "input environment",
      message: `is missing: on ${run.event} nothing else says which environment to release to. There are: ${names.join(", ")}`,
    },
  ]);
}
