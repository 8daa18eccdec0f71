import picomatch from "picomatch";
import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { notFound } from "./errors.ts";

/** A ruleset for tags, as the settings page makes it. */
export interface Ruleset {
  readonly id: number;
  readonly name: string;
  readonly target: "tag" | "branch";
  readonly enforcement: "active" | "evaluate" | "disabled";
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly rules: readonly {
    readonly type: string;
    readonly parameters?: Readonly<Record<string, unknown>>;
  }[];
  /** Logins that may bypass it. */
  readonly bypass: readonly string[];
}

const DOCUMENTATION = "https://docs.github.com/rest/repos/rules";

/** "REST API endpoints for rules": the list has neither conditions nor rules, and `targets` filters it. */
export const rulesetEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    pattern: /^\/rulesets$/,
    needs: "metadata=read",
    documentation: `${DOCUMENTATION}#get-all-repository-rulesets`,
    answer: async (call) => {
      const targets = call.query.get("targets")?.split(",");
      const found = call.repository.rulesets.filter(({ target }) => targets?.includes(target) ?? true);
      return Promise.resolve({ status: 200, body: found.map((ruleset) => summary(call, ruleset)) });
    },
  },
  {
    method: "GET",
    pattern: /^\/rulesets\/(\d+)$/,
    needs: "metadata=read",
    documentation: `${DOCUMENTATION}#get-a-repository-ruleset`,
    answer: getRuleset,
  },
];

function summary({ repository }: Call, { id, name, target, enforcement }: Ruleset): object {
  return { id, name, target, source_type: "Repository", source: repository.fullName, enforcement };
}

async function getRuleset(call: Call): Promise<Answer> {
  const ruleset = call.repository.rulesets.find(({ id }) => id === Number(call.path[0]));
  if (ruleset === undefined) throw notFound();
  const { include, exclude, rules } = ruleset;
  const bypass = ruleset.bypass.includes(call.token.login) ? "always" : "never";
  const body = {
    ...summary(call, ruleset),
    conditions: { ref_name: { include, exclude } },
    rules,
    current_user_can_bypass: bypass,
  };
  return Promise.resolve({ status: 200, body });
}

/** The message as reported in community/discussions#149466 and cli/cli#10133; undefined: no rule is against it. */
export function violation(rulesets: readonly Ruleset[], login: string, ref: string): string | undefined {
  if (!ref.startsWith("refs/tags/")) return undefined;
  const applying = rulesets.filter(
    ({ target, enforcement, include, exclude, bypass }) =>
      target === "tag" &&
      enforcement === "active" &&
      !bypass.includes(login) &&
      include.some((pattern) => matches(pattern, ref)) &&
      !exclude.some((pattern) => matches(pattern, ref)),
  );
  const created = applying.some(({ rules }) => rules.some(({ type }) => type === "creation"));
  return created
    ? "Repository rule violations found\n\nCannot create ref due to creations being restricted.\n\n"
    : undefined;
}

/** "Creating rulesets": fnmatch syntax, where `*` does not match a slash. */
function matches(pattern: string, ref: string): boolean {
  return pattern === "~ALL" || picomatch.isMatch(ref, pattern, { dot: true });
}
