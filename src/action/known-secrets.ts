import { canBeHidden } from "../domain/secrets.ts";
import { parseVariables } from "./variables.ts";

/** A secret that the step was given, and how its user knows it. */
export interface KnownSecret {
  readonly name: string;
  readonly value: string;
}

/** Variables that hold a secret by their name, if it is long enough to be one. */
const SECRET_NAME =
  /(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_?KEY|API_?KEY|ACCESS_?KEY|SECRET_?KEY)$/i;
const LIKELY_LENGTH = 8;

/** Those that are secrets whatever they look like. The key's id is none, but tells whose key to look for. */
const SECRETS: ReadonlySet<string> = new Set([
  "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
  "ACTIONS_RUNTIME_TOKEN",
  "AWS_ACCESS_KEY_ID",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "GH_TOKEN",
  "GITHUB_TOKEN",
  "PACKER_GITHUB_API_TOKEN",
]);

/**
 * Every secret in the environment of a step: the token, `secret-vars`, keys and tokens of AWS and GitHub, and what other
 * variables hold whose names say so. Inputs that do not exist count by their names too: a `secret-var` is refused later.
 */
export function knownSecrets(env: Readonly<Record<string, string | undefined>>): readonly KnownSecret[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (value === undefined || value.trim() === "") return [];
    if (!name.startsWith("INPUT_")) return isSecret(name, value) ? [{ name, value }] : [];
    const input = name.slice("INPUT_".length).toLowerCase();
    if (input === "token") return [{ name: "the input token", value: value.trim() }];
    return /secret|token|passw/.test(input) ? inSecretVars(value) : [];
  });
}

/** True for the variables of an environment that hold a secret. */
export function isSecret(name: string, value: string): boolean {
  return SECRETS.has(name) || (SECRET_NAME.test(name) && value.trim().length >= LIKELY_LENGTH);
}

/** An environment as Packer's templates have it, without secrets and without what belongs to this step. */
export function publicEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) => value !== undefined && !/^(?:INPUT|STATE)_/.test(name) && !isSecret(name, value),
    ),
  );
}

/** The values; where the text is not what it should be, all of it, since any line may be a piece of one. */
function inSecretVars(text: string): readonly KnownSecret[] {
  let malformed = false;
  const found = parseVariables(text, () => (malformed = true));
  return [
    ...Object.entries(found).map(([name, value]) => ({ name: `secret-vars' ${name}`, value })),
    ...(malformed ? text.split(/[\r\n]+/).flatMap((line) => [line, ...line.split("=")]) : []).map(
      (value) => ({ name: "secret-vars", value }),
    ),
  ].filter(({ value }) => canBeHidden(value));
}
