import { placesInConfig } from "../config/load.ts";
import type { Application } from "../domain/application.ts";
import { InvalidInputError } from "../domain/errors.ts";
import type { Log } from "../domain/ports.ts";
import { checkTemplate, type Given } from "../image/template/template-checks.ts";
import type { Inputs } from "./inputs.ts";

/** What the template of a run is checked with. */
interface TemplateOfRun {
  readonly inputs: Pick<Inputs, "config" | "inline" | "vars" | "secretVars">;
  readonly application: Application;
  /** The repository's folder. */
  readonly workspace: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The config file's text; absent if the step's inputs stand for it. */
  readonly configText: string | undefined;
}

/**
 * Refuses a template that would harm images in use, or that a whole bake would show to be wrong. Called by commands that
 * bake, before anything is touched.
 * @throws InvalidInputError with every problem, each with its file, line and column
 */
export async function refuseUnfitTemplate(run: TemplateOfRun, log: Log): Promise<void> {
  const { application, inputs } = run;
  const targets = application.environments.flatMap((environment) => environment.targets);
  const placeOf =
    run.configText === undefined ? () => "the step's inputs" : placesInConfig(run.configText, inputs.config);
  const region = application.environments[0]?.imageRegion ?? targets[0]?.region;
  // An environment without targets is refused elsewhere.
  if (region === undefined) return;
  const { problems, notices } = await checkTemplate({
    recipe: { ...application.image, vars: { ...application.image.vars, ...inputs.vars } },
    folder: run.workspace,
    given: givenVariables(run, placeOf),
    environment: run.environment,
    region,
    targetRegions: new Set(targets.map((target) => target.region)),
    onlyPlace: placeOf(["image", "only"]),
  });
  for (const notice of notices) log.notice(notice);
  if (problems.length > 0) throw new InvalidInputError(problems);
}

function givenVariables(
  { application, inputs }: TemplateOfRun,
  placeOf: (keys: readonly string[]) => string,
): ReadonlyMap<string, Given> {
  return new Map<string, Given>([
    ...Object.entries(application.image.vars).map(([name, value]): [string, Given] => [
      name,
      { where: placeOf(["image", "vars", name]), byStep: false, isSecret: false, value },
    ]),
    ...Object.entries(inputs.vars).map(([name, value]): [string, Given] => [
      name,
      { where: "input vars", byStep: true, isSecret: false, value },
    ]),
    ...Object.entries(inputs.secretVars).map(([name, value]): [string, Given] => [
      name,
      { where: "input secret-vars", byStep: true, isSecret: true, value },
    ]),
  ]);
}
