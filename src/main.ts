import { existsSync } from "node:fs";
import { join } from "node:path";
import * as core from "@actions/core";
import { errorResult, outcomeOf, reportError } from "./action/boundary.ts";
import { refuseForeignCode } from "./action/foreign-code.ts";
import { parseInputs } from "./action/inputs.ts";
import { PublishedFacts } from "./action/outputs.ts";
import { readRunner, type Runner } from "./action/runner.ts";
import { SavedState } from "./action/state.ts";

/** The action's main door: reads the runner's world, checks the inputs, runs the command, reports. */
async function main(): Promise<void> {
  let runner: Runner | undefined;
  let facts: PublishedFacts | undefined;
  try {
    runner = readRunner(process.env);
    facts = new PublishedFacts(runner.inputs["command"] ?? "deploy");
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
    await core.summary.addRaw(renderSummary(facts.result, { ...runner.run })).write();
  }
}

await main();
