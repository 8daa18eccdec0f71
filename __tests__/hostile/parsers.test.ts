import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorResult } from "../../src/action/boundary.ts";
import { COMMANDS, INPUT_NAMES, parseInputs } from "../../src/action/inputs.ts";
import { loadConfig } from "../../src/config/load.ts";
import { MAX_CONFIG_BYTES } from "../../src/config/yaml-text.ts";
import { parseDuration } from "../../src/domain/duration.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";
import { parseInventory, inventoryText } from "../../src/image/inventory.ts";
import { type BakeEvent, PackerOutput, PHASES } from "../../src/image/packer-output.ts";
import { madeOf } from "../../src/image/bake-traces.ts";
import { compareContent, comparePackages } from "../../src/release/changes.ts";
import { formatRecord, NotARecord, parseRecord } from "../../src/release/record.ts";
import { COMMIT, RECORD } from "../release/records.ts";
import { hostile, hostileText, told } from "./texts.ts";
import { Secrets } from "../../src/domain/secrets.ts";

const NOTHING = new Secrets();

/** Runs of each parser that reads what others wrote, in every test run. */
const RUNS = 10_000;

const FILE = ".github/kiln.yml";

/** Keys that somebody would try, known ones among them. */
const keys = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("image", "environments", "template", "inputs", "vars", "targets") },
  {
    weight: 4,
    arbitrary: fc.constantFrom("application", "branches", "rollout", "region", "requires", "prune"),
  },
  { weight: 2, arbitrary: fc.constantFrom("__proto__", "constructor", "prototype", "toString", "<<", "? a") },
  { weight: 2, arbitrary: hostileText },
);

const yamlTree = fc.letrec<{ tree: string; leaf: string }>((tie) => ({
  leaf: fc.oneof(
    hostileText,
    hostileText.map((text) => JSON.stringify(text)),
    fc.constantFrom(
      "*a",
      "&a x",
      "!!binary aa",
      "!!js/function x",
      "0x1f",
      "~",
      "1.10",
      ".inf",
      "null",
      "|",
      "''",
    ),
  ),
  tree: fc.oneof(
    { maxDepth: 4 },
    tie("leaf"),
    fc
      .array(fc.tuple(keys, tie("tree")), { maxLength: 4 })
      .map((pairs) => `{${pairs.map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(", ")}}`),
    fc.array(tie("tree"), { maxLength: 3 }).map((list) => `[${list.join(", ")}]`),
  ),
}));

const VALID = `application: web
image:
  template: packer/web.pkr.hcl
  inputs: [packer/**, "!packer/notes.md"]
  vars: { nginx: 1.10, list: [1, 2] }
environments:
  dev:
    branches: [develop]
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
  production:
    requires: dev
    targets: [{ region: us-east-1, auto-scaling-group: web }]
    rollout: { strategy: canary, canary: 10%, bake-time: 10m, smoke-test: ./smoke.sh }
`;

/** A text in which something was put, left out or doubled. */
const mutilated = (text: string): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(fc.nat(text.length), fc.nat(30), hostileText), { minLength: 1, maxLength: 3 })
    .map((cuts) =>
      cuts.reduce((now, [at, length, put]) => now.slice(0, at) + put + now.slice(at + length), text),
    );

/** Nothing that came of hostile text has changed what every object has. */
function pollutes(): boolean {
  return Object.keys(Object.prototype).length > 0 || Object.keys(Array.prototype).length > 0;
}

/** Every object of a value, however deep. */
function objectsIn(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return [];
  return [value, ...Object.values(value).flatMap(objectsIn)];
}

function isPlain(value: unknown): boolean {
  return objectsIn(value).every((each) => {
    const prototype: unknown = Object.getPrototypeOf(each);
    return (
      !Object.hasOwn(each, "__proto__") &&
      (prototype === Object.prototype ||
        prototype === Array.prototype ||
        prototype === Date.prototype ||
        prototype === null)
    );
  });
}

/** What is not as it must be with what became of a config file. */
function outcomeOf(text: string): { readonly taken: boolean; readonly complaints: readonly string[] } {
  const polluted = (): string[] => (pollutes() ? ["objects are polluted"] : []);
  try {
    const plain = isPlain(loadConfig(text, FILE, "web"));
    return { taken: true, complaints: [...(plain ? [] : ["it is not plain"]), ...polluted()] };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    const { problems } = error;
    const placeless = problems.filter(
      ({ where, message }) => !/^\.github\/kiln\.yml:[1-9]\d*:[1-9]\d*$/.test(where) || message === "",
    );
    const none = problems.length === 0 ? ["there is no problem"] : [];
    return { taken: false, complaints: [...placeless.map(({ where }) => where), ...none, ...polluted()] };
  }
}

describe("the config file's parser", () => {
  test("takes a file or tells what is wrong and where", () => {
    const texts = fc.oneof(
      hostileText,
      mutilated(VALID),
      yamlTree.tree,
      fc.tuple(keys, yamlTree.tree).map(([key, tree]) => `${VALID}${JSON.stringify(key)}: ${tree}\n`),
    );
    let taken = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const found = outcomeOf(text);
        taken += found.taken ? 1 : 0;
        expect(found.complaints).toEqual([]);
      }),
      told("config files", RUNS),
    );
    // Some of the mutilated ones are still right: else nothing was read to its end.
    expect(taken).toBeGreaterThan(10);
  });

  const problemOf = (text: string): string => {
    try {
      loadConfig(text, FILE, "web");
      return "taken";
    } catch (error) {
      if (error instanceof InvalidInputError) return error.problems[0]?.message ?? "";
      throw error;
    }
  };

  test.each([
    ["too long", `# ${"x".repeat(MAX_CONFIG_BYTES)}`, "the file is longer than 64 KiB"],
    ["deep", `${"{a: ".repeat(30)}1${"}".repeat(30)}`, "is nested more than 20 deep"],
    ["a map as a key", "? { a: 1 }\n: 2", "has a key that is no word"],
    ["keys in keys", `${"? ".repeat(500)}a`, "has a key that is no word"],
    [
      "a bomb",
      `a: &a [x,x,x,x]\nb: &b [${"*a,".repeat(20)}]\nc: &c [${"*b,".repeat(20)}]\nd: [${"*c,".repeat(20)}]`,
      "",
    ],
    ["itself", "a: &a [*a]", ""],
    ["an alias of nothing", "a: *b", ""],
    [
      "many",
      Array.from({ length: 1001 }, (_, index) => `k${index}: 1`).join("\n"),
      "has 1001 entries, at most 1000 are taken",
    ],
    ["a prototype", `${VALID}__proto__: { a: 1 }`, 'the key "__proto__" is not taken'],
    ["a zero byte", VALID.replace("1.10", '"\\0"'), "holds a control character"],
  ])("refuses %s", (_, text, message) => {
    const started = process.cpuUsage();
    expect(problemOf(text)).toBe(
      message === "" ? "an alias means nothing, itself, or too much: write what it stands for" : message,
    );
    expect(process.cpuUsage(started).user).toBeLessThan(5_000_000);
  });

  test.each(["constructor", "prototype", "toString", "hasOwnProperty", "valueOf"])(
    "an environment and a variable may be called %s",
    (name) => {
      const text = `image: { template: web.pkr.hcl, vars: { ${name}: x } }
environments:
  ${name}: { targets: [{ region: eu-west-1, auto-scaling-group: web }] }
  other: { requires: ${name}, targets: [{ region: eu-west-1, auto-scaling-group: other }] }
`;
      const application = loadConfig(text, FILE, "web");
      expect(application.environments.map((environment) => environment.name)).toEqual([name, "other"]);
      expect(Object.entries(application.image.vars)).toEqual([[name, "x"]]);
    },
  );

  test.each(["/etc/x", "../x", "a/../../x", "a\\nb", "a\\0b", ""])("a template may not be %j", (path) => {
    expect(problemOf(VALID.replace("packer/web.pkr.hcl", `"${path}"`))).not.toBe("taken");
  });

  test("aliases that mean little are fine", () => {
    const text = VALID.replace("rollout: {", "rollout: &r {").concat(
      "  qa: { targets: [{ region: eu-west-1, auto-scaling-group: qa }], rollout: *r }\n",
    );
    expect(loadConfig(text, FILE, "web").environments).toHaveLength(3);
  });

  test("any text within the limit is judged in a time that grows with it", () => {
    const fill = (piece: string): string => piece.repeat(Math.floor(MAX_CONFIG_BYTES / piece.length));
    for (const piece of ["[", "? ", '"', "&a ", "a: ", "k:\n"]) {
      const started = process.cpuUsage();
      expect(problemOf(fill(piece))).not.toBe("taken");
      expect(process.cpuUsage(started).user, piece).toBeLessThan(20_000_000);
    }
  });
});

describe("the record's parser", () => {
  const message = formatRecord(RECORD, "Runs image web.");
  const lines = message.split("\n");

  test("takes a record or says why it is none, and never throws", () => {
    const shuffled = fc.shuffledSubarray(lines, { minLength: 5 }).map((some) => some.join("\n"));
    const doubled = fc
      .tuple(fc.nat(lines.length - 1), hostileText)
      .map(([at, text]) => lines.flatMap((line, index) => (index === at ? [line, text] : [line])).join("\n"));
    let taken = 0;
    fc.assert(
      fc.property(fc.oneof(hostile, mutilated(message), shuffled, doubled), (text) => {
        const read = parseRecord("release/production/000042", text, COMMIT);
        const isRecord = !(read instanceof NotARecord);
        taken += isRecord ? 1 : 0;
        expect(isRecord ? read.commit : COMMIT).toBe(COMMIT);
        expect(isRecord || read.reason !== "").toBe(true);
        expect(isPlain(isRecord ? read : {})).toBe(true);
        expect(isRecord ? Object.values(read).filter((value) => /[\r\n]/.test(String(value))) : []).toEqual(
          [],
        );
        expect(pollutes()).toBe(false);
      }),
      told("records", RUNS),
    );
    expect(taken).toBeGreaterThan(10);
  });

  test("a message that is too long is none", () => {
    expect(parseRecord("release/production/000042", `${"x".repeat(70_000)}\n\n${message}`, COMMIT)).toEqual(
      new NotARecord("its message is longer than 64 KiB"),
    );
  });
});

const AMI = /^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;

function isKnownForm(event: BakeEvent): boolean {
  if (event.kind === "phase") return PHASES.includes(event.phase);
  if (event.kind === "spot" || event.kind === "surrogate") return true;
  if (event.kind === "temporary") return /^\S+$/.test(event.id);
  if (event.kind === "copying") return /^[a-z]{2}(?:-[a-z]+)+-\d$/.test(event.region);
  return AMI.test(event.id) && (event.kind !== "artifact" || /^[a-z]{2}(?:-[a-z]+)+-\d$/.test(event.region));
}

describe("the parser of Packer's output", () => {
  const genuine = [
    "==> amazon-ebs.web: Creating temporary keypair: packer_0123abcd-0123-0123-0123-0123456789ab",
    "    amazon-ebs.web: Found Image ID: ami-0123456789abcdef0",
    "==> amazon-ebs.web: Launching a spot AWS instance...",
    "    amazon-ebs.web: Instance ID: i-0123456789abcdef0",
    "==> amazon-ebs.web: Creating snapshot of EBS Volume vol-0123456789abcdef0...",
    "==> amazon-ebs.web: Provisioning with shell script: x.sh",
    "    amazon-ebs.web: AMI: ami-0123456789abcdef0",
    "    amazon-ebs.web: Copying to: us-east-1",
    "==> Builds finished. The artifacts of successful builds are:",
    "--> amazon-ebs.web: AMIs were created:",
    "eu-west-1: ami-0123456789abcdef0",
  ];

  test("gives events of the known forms only, and never throws", async () => {
    const line = fc.oneof(
      hostile,
      fc.constantFrom(...genuine),
      fc.constantFrom(...genuine).chain(mutilated),
      fc.tuple(fc.constantFrom("==> a: ", "    a: ", "eu-west-1: "), hostile).map((parts) => parts.join("")),
    );
    let events = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (output) => {
        const reader = new PackerOutput();
        const found = output.flatMap((each) => reader.read(each));
        events += found.length;
        expect(found.filter((event) => !isKnownForm(event))).toEqual([]);
        expect(isPlain(await madeOf(output))).toBe(true);
        expect(pollutes()).toBe(false);
      }),
      told("outputs of Packer", RUNS),
    );
    expect(events).toBeGreaterThan(1000);
  });

  test("no provisioner's line is an artifact", () => {
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 4 }), (texts) => {
        const reader = new PackerOutput();
        // As Packer prints what a provisioner printed: each line behind the build's name.
        const printed = [...texts, genuine.at(-3) ?? "", genuine.at(-1) ?? ""].flatMap((text) =>
          text.split("\n").map((part) => `    amazon-ebs.web: ${part}`),
        );
        const kinds = printed.flatMap((each) => reader.read(each)).map(({ kind }) => kind);
        expect(kinds).not.toContain("artifact");
      }),
      told("outputs of provisioners", 2000),
    );
  });
});

/** What is told of wrong inputs; empty where they are taken. */
function toldOf(given: Readonly<Record<string, string>>, configExists: (path: string) => boolean): string {
  try {
    const parsed = parseInputs({ token: "ghs_x", ...given }, configExists);
    if (!isPlain(parsed) || parsed.timeout > 5 * 24 * 3_600_000)
      throw new Error("they are not as they must be");
    return "";
  } catch (error) {
    if (error instanceof InvalidInputError) return errorResult(error).message;
    throw error;
  }
}

describe("other parsers", () => {
  test("inventories are lists of lines, whatever they were", () => {
    const json = fc
      .array(
        fc.dictionary(
          fc.constantFrom("name", "version", "versionInfo", "group", "components", "__proto__"),
          hostile,
        ),
      )
      .map((components) => JSON.stringify({ components }));
    fc.assert(
      fc.property(fc.oneof(hostile, json, json.chain(mutilated)), (text) => {
        const inventory = parseInventory(text, NOTHING);
        expect(isPlain(inventory)).toBe(true);
        for (const line of inventoryText(inventory).split("\n").filter(Boolean))
          expect(line).toMatch(/^[^\s\p{Cc}]{1,200} [^\s\p{Cc}]{1,100}$/u);
        expect(parseInventory(inventoryText(inventory), NOTHING).packages.length).toBeLessThanOrEqual(
          inventory.packages.length,
        );
      }),
      told("inventories", 2000),
    );
  });

  test("what git keeps of images is compared, whatever somebody wrote there", () => {
    fc.assert(
      fc.property(hostile, hostile, (before, after) => {
        expect(isPlain(comparePackages(before, after))).toBe(true);
        expect(isPlain(compareContent(`100644 a ${before}`, `var ${after} x`))).toBe(true);
      }),
      told("comparisons", 1000),
    );
  });

  test("inputs are taken, or every problem is told", () => {
    const values = fc.oneof(
      hostileText,
      fc.constantFrom(...COMMANDS, "true", "false", "10s", "1h", "a=b", "__proto__=x"),
    );
    const inputs = fc.dictionary(fc.oneof(fc.constantFrom(...INPUT_NAMES), hostileText), values, {
      maxKeys: 6,
    });
    fc.assert(
      fc.property(inputs, fc.boolean(), (given, exists) => {
        const asked: string[] = [];
        const told = toldOf(given, (path) => asked.push(path) > 0 && exists);
        expect(told.length).toBeLessThanOrEqual(32_000);
        // No file outside of the repository is even asked for.
        for (const path of asked) expect(`/${path}/`).not.toContain("/../");
        expect(asked.some((path) => path.startsWith("/"))).toBe(false);
        expect(pollutes()).toBe(false);
      }),
      told("sets of inputs", 2000),
    );
  });

  test("a variable called __proto__ is refused, not lost", () => {
    expect(() => parseInputs({ token: "x", vars: "__proto__=x" }, () => true)).toThrow(
      'input vars: line 1: "__proto__" is not taken as a name',
    );
  });

  test("durations are dates' and timers' sizes", () => {
    const texts = fc.oneof(
      hostile,
      fc
        .tuple(fc.bigInt({ min: 0n, max: 10n ** 60n }), fc.constantFrom("ms", "s", "m", "h", "d"))
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const parsed = parseDuration(text) ?? 0;
        expect(Number.isNaN(new Date(Date.now() + parsed).getTime())).toBe(false);
      }),
      told("durations", 1000),
    );
  });
});
