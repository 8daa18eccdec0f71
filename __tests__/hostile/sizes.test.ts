import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PublishedFacts } from "../../src/action/outputs.ts";
import { resultSchema } from "../../src/action/result-schema.ts";
import { createSubprocess } from "../../src/action/subprocess.ts";
import { pagesOf } from "../../src/aws/pages.ts";
import type { PruneResult } from "../../src/domain/result.ts";
import { loadConfig } from "../../src/config/load.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";
import { Secrets } from "../../src/domain/secrets.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kiln-sizes-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

describe("lists of AWS", () => {
  async function read(answer: (next: string | undefined) => string | undefined): Promise<number> {
    let pages = 0;
    for await (const page of pagesOf("DescribeImages", async ({ NextToken }) => ({
      NextToken: answer(NextToken),
    })))
      pages += page === undefined ? 0 : 1;
    return pages;
  }

  test("are read to their end", async () => {
    expect(await read((next) => (next === "5" ? undefined : String(Number(next ?? 0) + 1)))).toBe(6);
    expect(await read(() => "")).toBe(1);
  });

  test("are given up where the same page comes again", async () => {
    await expect(read(() => "again")).rejects.toThrow("AWS's answer to DescribeImages has no end");
  });

  test("are given up where there is always one more", async () => {
    await expect(read((next) => `${next ?? ""}x`)).rejects.toThrow(
      "AWS's answer to DescribeImages has no end",
    );
  });
});

describe("a program's output", () => {
  async function linesOf(script: string): Promise<string[]> {
    const lines: string[] = [];
    const started = await createSubprocess(process.env, folder).start(process.execPath, ["-e", script], {
      cwd: folder,
      onLine: (line) => lines.push(line),
    });
    expect(await started.exit).toBe(0);
    return lines;
  }

  test("that has a line without an end is cut there, and read on after it", async () => {
    const lines = await linesOf(
      `const x = "x".repeat(1e6); process.stdout.write("a\\n" + x + x + x + "\\nb\\n" + x)`,
    );
    expect(lines.map((line) => line.length < 10)).toEqual([true, false, true, false]);
    expect(lines[1]).toHaveLength(256 * 1024 + "… (cut: the line goes on)".length);
    expect(lines[1]?.endsWith("x… (cut: the line goes on)")).toBe(true);
    expect(lines[2]).toBe("b");
  });

  test("that has lines of the usual length is whole", async () => {
    const lines = await linesOf(
      `for (let i = 0; i < 5000; i += 1) console.log("line", i, "x".repeat(i % 300))`,
    );
    expect(lines).toEqual(
      Array.from({ length: 5000 }, (_, index) => `line ${index} ${"x".repeat(index % 300)}`),
    );
  });
});

describe("the result as an output", () => {
  /** What was written for outputs, by name, and how much in all. */
  function written(work: (facts: PublishedFacts) => void): {
    readonly bytes: number;
    readonly result: unknown;
  } {
    const values: string[] = [];
    const write = vi.spyOn(process.stdout, "write").mockImplementation((piece) => {
      values.push(String(piece));
      return true;
    });
    vi.stubEnv("GITHUB_OUTPUT", "");
    try {
      work(new PublishedFacts("prune", new Secrets()));
    } finally {
      write.mockRestore();
    }
    const last = values.findLast((value) => value.startsWith("::set-output name=result::"));
    const text = last?.slice("::set-output name=result::".length).replaceAll("%25", "%") ?? "";
    return { bytes: values.join("").length, result: JSON.parse(text) };
  }
  const image = (index: number): PruneResult["images"][number] => ({
    region: "eu-west-1",
    imageId: "ami-0aaaaaaaaaaaaaaaa",
    name: `web-${index}`,
    action: "deregistered",
    why: "nobody needs it".repeat(10),
    days: 1,
    gigabytes: 1,
  });

  test("is cut where it is too long, says so, and is what the schema says", () => {
    const { result } = written((facts) => {
      facts.publish({
        prune: { kept: 1, gigabytes: 1, images: Array.from({ length: 5000 }, (_, index) => image(index)) },
      });
      facts.publishEnvironment("dev", { plan: ["x".repeat(500_000)], unrecorded: "y".repeat(500_000) });
      facts.publish({ outcome: "succeeded" });
    });
    expect(resultSchema.safeParse(result).error).toBeUndefined();
    expect(JSON.stringify(result).length).toBeLessThan(300_000);
    expect(result).toMatchObject({ command: "prune", outcome: "succeeded", cut: true });
  });

  test("says what a run came to, however many facts there were", () => {
    const { bytes, result } = written((facts) => {
      const images: PruneResult["images"][number][] = [];
      for (let index = 0; index < 3000; index += 1) {
        images.push(image(index));
        facts.publish({ prune: { kept: 0, gigabytes: index, images: [...images] } });
      }
      facts.publish({ outcome: "succeeded" });
    });
    expect(bytes).toBeLessThan(25_000_000);
    expect(result).toMatchObject({ outcome: "succeeded", prune: { gigabytes: 2999 } });
  });

  test("is whole where it fits", () => {
    const { result } = written((facts) => facts.publish({ application: "web", outcome: "skipped" }));
    expect(result).toEqual({ command: "prune", outcome: "skipped", application: "web", environments: [] });
  });
});

describe("the config file's lists", () => {
  test.each([
    [
      "environments",
      (count: number) =>
        Array.from(
          { length: count },
          (_, index) => `  e${index}: { targets: [{ region: eu-west-1, auto-scaling-group: g${index} }] }`,
        ).join("\n"),
      100,
    ],
  ] as const)("%s", (_, environments, most) => {
    const text = (count: number): string =>
      `image: { template: a.pkr.hcl }\nenvironments:\n${environments(count)}\n`;
    expect(loadConfig(text(most), "kiln.yml", "web").environments).toHaveLength(most);
    expect(() => loadConfig(text(most + 1), "kiln.yml", "web")).toThrow(InvalidInputError);
  });

  test.each(["inputs", "branches"])("%s", (key) => {
    const list = (count: number): string =>
      `[${Array.from({ length: count }, (_, index) => `p${index}`).join(", ")}]`;
    const text = (count: number): string =>
      `image: { template: a.pkr.hcl${key === "inputs" ? `, inputs: ${list(count)}` : ""} }
environments: { e: { ${key === "branches" ? `branches: ${list(count)}, ` : ""}targets: [{ region: eu-west-1, auto-scaling-group: g }] } }`;
    expect(loadConfig(text(200), "kiln.yml", "web").environments).toHaveLength(1);
    expect(() => loadConfig(text(201), "kiln.yml", "web")).toThrow("must be at most 200 patterns");
  });
});

test("the post step reads what Packer printed however long it is", async () => {
  const { madeOf } = await import("../../src/image/bake-traces.ts");
  expect(
    await madeOf(
      (async function* () {
        for (let index = 0; index < 100_000; index += 1) yield "    amazon-ebs.web: x";
        yield "    amazon-ebs.web: Instance ID: i-0123456789abcdef0";
      })(),
    ),
  ).toEqual({ instances: ["i-0123456789abcdef0"] });
});
