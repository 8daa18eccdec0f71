import type { Application } from "../domain/application.ts";
import type { Problem } from "../domain/errors.ts";
import { canBeHidden, linesToHide } from "../domain/secrets.ts";
import type { Run } from "../commands/ports.ts";
import type { Inputs } from "./inputs.ts";
import type { KnownSecret } from "./known-secrets.ts";

/** A text that people see, in names, tags, records or arguments of programs, and where it was given. */
type Place = readonly [where: string, text: string | undefined];

/** A line of a secret that is shorter says nothing: a brace, an `EOF`. */
const TELLING_LINE = 8;

/**
 * Secrets that are given in plain sight too. Leaving them out of a log would be no use, and out of a name impossible: the
 * image could not be found by it.
 * @param sensitive variables of `vars` that are hidden themselves
 */
export function exposedSecrets(
  known: readonly KnownSecret[],
  inputs: Inputs,
  application: Application,
  run: Run,
  sensitive: ReadonlySet<string>,
): readonly Problem[] {
  const places = [
    ...placesOfInputs(inputs, sensitive),
    ...placesOfConfig(inputs, application, sensitive),
    ...placesOfRun(run),
  ];
  return places.flatMap(([where, text]) => {
    const shown = known.filter(({ value }) => text !== undefined && holds(text, value));
    const names = new Set(shown.map(({ name }) => name));
    return [...names].map((name) => ({
      where,
      message: `holds the value of ${name}. It would be seen in names, records or arguments: a secret may be given as a secret only, and what is public is none`,
    }));
  });
}

function holds(text: string, secret: string): boolean {
  const whole = secret.trim();
  if (!canBeHidden(whole)) return false;
  return linesToHide(whole).some(
    (line) => (line === whole || line.length >= TELLING_LINE) && text.includes(line),
  );
}

function placesOfInputs(inputs: Inputs, sensitive: ReadonlySet<string>): readonly Place[] {
  return [
    ["input version", inputs.version],
    ["input reason", inputs.reason],
    ["input to", inputs.to],
    ["input environment", inputs.environment],
    ...plainVars("input vars", inputs.vars, sensitive),
  ];
}

function plainVars(
  where: string,
  vars: Readonly<Record<string, string>>,
  sensitive: ReadonlySet<string>,
): readonly Place[] {
  return Object.entries(vars).flatMap(([name, value]): Place[] =>
    sensitive.has(name) ? [] : [[`${where}, "${name}"`, value]],
  );
}

function placesOfConfig(
  { config, inline }: Inputs,
  application: Application,
  sensitive: ReadonlySet<string>,
): readonly Place[] {
  const where = inline === undefined ? config : "the step's inputs";
  const { image, environments } = application;
  return [
    [`${where}: the application's name`, application.name],
    [`${where}: the records' prefix`, application.recordPrefix],
    [`${where}: the template's path`, image.template],
    ...image.varFiles.map((path): Place => [`${where}: a variable file's path`, path]),
    ...plainVars(`${where}: vars`, image.vars, sensitive),
    ...environments.flatMap((environment): Place[] => {
      const of = `${where}: environment ${environment.name}`;
      return [
        [`${of}: its name`, environment.name],
        [`${of}: its role`, environment.roleToAssume],
        ...environment.targets.flatMap((target): Place[] => [
          [`${of}: a target's region`, target.region],
          [`${of}: a target's group`, target.autoScalingGroup],
          [`${of}: a target's key`, target.kmsKey],
        ]),
        ...(environment.rollout.smokeTest?.command ?? []).map((argument): Place => [
          `${of}: its smoke test`,
          argument,
        ]),
      ];
    }),
  ];
}

function placesOfRun(run: Run): readonly Place[] {
  return [
    ["the branch", run.branch],
    ["the repository's name", run.repository],
    ["the actor's name", run.actor],
  ];
}
