/**
 * The way to the runner: log, annotations, outputs, state and summary. Everything goes through here, without secrets:
 * the runner's own masks hide them on its pages, not in the files and on the terminals where these bytes may end too. And
 * nothing that is printed is a command of somebody else's.
 */
import * as core from "@actions/core";
import { annotation, harmless } from "./harmless.ts";
import { canBeHidden, linesToHide, Secrets } from "../domain/secrets.ts";

/** What this process knows that nobody may read. */
export const secrets = new Secrets();

const told = new Set<string>();

/** From here on nobody sees these values: Kiln leaves them out, and the runner masks them, whoever prints them. */
export function hideSecrets(values: Iterable<string>): void {
  for (const value of values) {
    if (!canBeHidden(value)) continue;
    secrets.add([value]);
    // Runners mask line by line, and not all of them take a value of several lines apart.
    for (const line of linesToHide(value)) {
      if (told.has(line)) continue;
      told.add(line);
      core.setSecret(line);
    }
  }
}

/** Where in a file an annotation belongs. */
export type AnnotationPlace = core.AnnotationProperties;

const redact = (text: string): string => secrets.redact(text);

/** Redacted before it is cut: half of a secret would not be known for one. */
const shown = (text: string): string => annotation(redact(text));

export const workflow = {
  info: (message: string): void => core.info(harmless(redact(message))),
  debug: (message: string): void => core.debug(shown(message)),
  notice: (message: string): void => core.notice(shown(message)),
  warning: (message: string): void => core.warning(shown(message)),
  error: (message: string, place: AnnotationPlace = {}): void => core.error(shown(message), place),
  /** An error, and the step fails with it. */
  setFailed: (message: string): void => core.setFailed(shown(message)),
  startGroup: (title: string): void => core.startGroup(shown(title)),
  endGroup: (): void => core.endGroup(),
  /** @param value whose free text has been redacted; of facts only what cannot be there by chance is */
  setOutput: (name: string, value: string): void => core.setOutput(name, secrets.redactFact(value)),
  saveState: (name: string, value: string): void => core.saveState(name, secrets.redactFact(value)),
  getState: (name: string): string => core.getState(name),
  async writeSummary(text: string): Promise<void> {
    await core.summary.addRaw(redact(text)).write();
  },
};
