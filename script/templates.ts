/**
 * Prints what a dry run finds out about the content of each template in a folder: the files that count and why, and what it
 * tells people. `npm run templates` takes those of `__tests__/templates`; `npm run templates -- NAME…` only some.
 *
 * Each folder is a repository of its own, with `image.yml` for the `image` key of a config file.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSubprocess } from "../src/action/subprocess.ts";
import { loadConfig } from "../src/config/load.ts";
import type { ImageRecipe } from "../src/domain/application.ts";
import { KilnError } from "../src/domain/errors.ts";
import type { Subprocess } from "../src/domain/ports.ts";
import { readContent } from "../src/image/content/image-content.ts";
import { decidedAtBakeLine, gapNotices, missingWarnings } from "../src/image/content/report.ts";
import { sensitiveVariables } from "../src/image/sensitive-variables.ts";
import { checkTemplate } from "../src/image/template/template-checks.ts";

export const TEMPLATES = join(import.meta.dirname, "../__tests__/templates");

/** The file that has a template's recipe. */
const IMAGE = "image.yml";
const REGION = "eu-west-1";
/** What a job's environment has that a template may read. */
const ENVIRONMENT = { APP_VERSION: "1.2.3", TOKEN: "secret", PKR_VAR_flavour: "fancy" } as const;

/** The names of the templates in a folder. */
export function templatesIn(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => statSync(join(folder, name)).isDirectory())
    .sort();
}

/** What is found out about one template, as text. */
export async function templateReport(folder: string, name: string): Promise<string> {
  const workspace = mkdtempSync(join(tmpdir(), "kiln-template-"));
  try {
    cpSync(join(folder, name), workspace, { recursive: true, verbatimSymlinks: true });
    // It stands for the config file, which is outside of the template's folder as a rule.
    rmSync(join(workspace, IMAGE));
    const subprocess = createSubprocess(process.env, workspace);
    await commitAll(workspace, subprocess);
    const image = readFileSync(join(folder, name, IMAGE), "utf8");
    const lines = await findings(recipeOf(image), workspace, subprocess).catch((error: unknown) => {
      if (!(error instanceof KilnError)) throw error;
      return [`refused: ${[error.message, error.state, error.next].filter(Boolean).join(" ")}`];
    });
    return [name, ...lines.map((line) => `  ${line}`), ""].join("\n");
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

/** The recipe of a config file that has this below its `image` key. */
function recipeOf(image: string): ImageRecipe {
  const text = `application: web
image:
  ${image.trimEnd().replaceAll("\n", "\n  ")}
environments:
  production:
    targets: [{ region: ${REGION}, auto-scaling-group: web }]
`;
  return loadConfig(text, IMAGE, "web").image;
}

async function findings(
  recipe: ImageRecipe,
  folder: string,
  subprocess: Subprocess,
): Promise<readonly string[]> {
  const { names: sensitive } = await sensitiveVariables(recipe, folder, ENVIRONMENT);
  const environment = ENVIRONMENT;
  const found = await readContent({ recipe, secretVars: [], sensitive, environment, folder, subprocess });
  const { problems, notices } = await checkTemplate({
    recipe,
    folder,
    given: new Map(),
    environment,
    region: REGION,
    targetRegions: new Set([REGION]),
    onlyPlace: IMAGE,
  });
  const later = decidedAtBakeLine(found.facts);
  return [
    ...found.files.map(({ path, because, reason }) => `${path} < ${because ?? reason}`),
    ...Object.keys(found.content.environment).map((name) => `environment: ${name}`),
    ...(later === undefined ? [] : [later]),
    ...[...gapNotices(found), ...notices].map((notice) => `notice: ${notice}`),
    ...(await missingWarnings(found, recipe, folder)).map((warning) => `warning: ${warning}`),
    ...problems.map(({ where, message }) => `refused: ${where}: ${message}`),
  ];
}

/** A template's folder becomes a repository with one commit. */
async function commitAll(cwd: string, subprocess: Subprocess): Promise<void> {
  const identity = { GIT_AUTHOR_NAME: "Ada", GIT_AUTHOR_EMAIL: "ada@example.org" };
  const env = {
    ...identity,
    GIT_COMMITTER_NAME: identity.GIT_AUTHOR_NAME,
    GIT_COMMITTER_EMAIL: identity.GIT_AUTHOR_EMAIL,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
  };
  for (const args of [
    ["init", "--quiet"],
    ["add", "--all"],
    ["commit", "--quiet", "--message", "Template"],
  ]) {
    const { code, stderr } = await subprocess.run("git", args, { cwd, env });
    if (code !== 0) throw new Error(`git ${args[0] ?? ""}: ${stderr}`);
  }
}

if (import.meta.main) {
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : templatesIn(TEMPLATES)) {
    process.stdout.write(`${await templateReport(TEMPLATES, name)}\n`);
  }
}
