import { existsSync } from "node:fs";
import { join } from "node:path";
import { errorResult, outcomeOf, reportError } from "./action/boundary.ts";
import { refuseForeignCode } from "./action/foreign-code.ts";
import { parseInputs } from "./action/inputs.ts";
import { PublishedFacts } from "./action/outputs.ts";
import { knownSecrets } from "./action/known-secrets.ts";
import { readRunner, type Runner } from "./action/runner.ts";
import { SavedState } from "./action/state.ts";
import { hideSecrets, secrets, workflow } from "./action/workflow.ts";

/** The action's main door: reads the runner's world, checks the inputs, runs the command, reports. */
async function main(): Promise<void> {
  let runner: Runner | undefined;
  let facts: PublishedFacts | undefined;
  // Before anything else is written: a mask hides only what comes after it.
  hideSecrets(knownSecrets(process.env).map(({ value }) => value));
  try {
    runner = readRunner(process.env);
    facts = new PublishedFacts(runner.inputs["command"] ?? "deploy", secrets);
    const { workspace } = runner;
    const inputs = parseInputs(runner.inputs, (path) => existsSync(join(workspace, path)));
    await refuseForeignCode(runner, inputs);
    // Loaded only now: wrong inputs are refused before the SDKs are read from disk.
    const { runCommand } = await import("./action/run.ts");
    await runCommand(inputs, runner, facts, new SavedState());
  } catch (error) {
    reportError(error);
    facts?.publish({ outcome: outcomeOf(error), error: errorResult(error) });
  }
  // Servers older than job summaries do not name a file for them.
  if (runner !== undefined && facts !== undefined && process.env["GITHUB_STEP_SUMMARY"] !== undefined) {
    const { renderSummary } = await import("./action/summary.ts");
    await workflow.writeSummary(renderSummary(facts.result, { ...runner.run }));
  }
}

// Node would print the error as it is, with all that hangs on it.
process.once("uncaughtException", (error) => {
  reportError(error);
  // What is left is in no state to go on; the post step cleans up.
  process.exit(1);
});
await main();
