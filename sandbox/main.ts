/** The sandbox by itself, to try the AWS CLI, Packer or Terraform against it until Ctrl-C. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addGroups, WorkingCopy } from "./example-stage.ts";
import { HOME, startSandbox, TOKEN } from "./sandbox.ts";

const folder = await mkdtemp(join(tmpdir(), "kiln-sandbox-"));
const sandbox = await startSandbox({ folder, speed: 60 });
addGroups(sandbox);
const copy = await WorkingCopy.create(sandbox, join(folder, "checkout"));

const environment = { ...sandbox.environment(), AWS_DEFAULT_REGION: HOME.region };
process.stdout.write(
  [
    `# One second here is a minute there. GitHub: ${sandbox.githubUrl} (repository acme/web, token ${TOKEN})`,
    `# The example application is checked out in ${copy.folder}`,
    "# In another shell:",
    ...Object.entries(environment).map(([name, value]) => `export ${name}='${value}'`),
    "# then, for example: aws autoscaling describe-auto-scaling-groups",
    "",
  ].join("\n"),
);

process.once("SIGINT", () => {
  void sandbox.close().then(() => rm(folder, { recursive: true, force: true }));
});
