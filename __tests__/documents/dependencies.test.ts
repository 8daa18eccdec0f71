import { expect, test } from "vitest";
import { readText } from "./markdown.ts";

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const project = JSON.parse(readText("package.json")) as Package;

/** The packages that the first column of a section's table names. */
function justified(heading: string): string[] {
  const [, section = ""] = readText("docs/dependencies.md").split(`\n## ${heading}\n`);
  const rows = (section.split("\n## ")[0] ?? "").split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) =>
    [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""),
  );
}

test("each package in dist/ is justified", () => {
  expect(justified("In dist/").toSorted()).toEqual(Object.keys(project.dependencies).toSorted());
});

test("each package for building and testing is justified", () => {
  expect(justified("For building and testing").toSorted()).toEqual(
    [...Object.keys(project.devDependencies), ...Object.keys(project.optionalDependencies)].toSorted(),
  );
});

test("the lock file has a hash of every package, and no package's scripts run", () => {
  const lock = JSON.parse(readText("package-lock.json")) as {
    readonly packages: Readonly<Record<string, { readonly resolved?: string; readonly integrity?: string }>>;
  };
  const installed = Object.entries(lock.packages).filter(([path]) => path !== "");
  expect(installed.length).toBeGreaterThan(100);
  // Without `resolved` a package comes from the registry that npm is set to, whichever; the hash decides what is accepted.
  const unsafe = installed.filter(
    ([, { resolved, integrity }]) => resolved !== undefined || integrity?.startsWith("sha512-") !== true,
  );
  expect(unsafe).toEqual([]);
  expect(readText(".npmrc")).toMatch(/^ignore-scripts=true$/m);
});

test("dist/ carries the licence of each package that it contains", () => {
  const licenses = readText("dist/LICENSES.txt");
  for (const name of Object.keys(project.dependencies))
    expect(licenses, name).toMatch(new RegExp(`^${name.replaceAll(/[/.]/g, "\\$&")} \\d`, "m"));
});
