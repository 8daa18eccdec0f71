import { posix } from "node:path";
import { expect, test } from "vitest";
import { anchorsOf, DOCUMENTS, exists, prose, readText } from "./markdown.ts";

test.each(DOCUMENTS)("the relative links of %s lead somewhere", (document) => {
  const targets = [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? "");
  const broken = targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? document : posix.join(posix.dirname(document), path);
      return !exists(file) || (anchor !== undefined && !anchorsOf(file).has(anchor));
    });
  expect(broken).toEqual([]);
});

test("every page of docs can be reached from README", () => {
  const seen = new Set<string>();
  const waiting = ["README.md"];
  for (let document = waiting.pop(); document !== undefined; document = waiting.pop()) {
    if (seen.has(document)) continue;
    seen.add(document);
    for (const [, target = ""] of prose(document).matchAll(/\]\(([^)\s#:]+\.md)/g))
      waiting.push(posix.join(posix.dirname(document), target));
  }
  expect(DOCUMENTS.filter((document) => document.startsWith("docs/") && !seen.has(document))).toEqual([]);
});

test("the tests that the page about reliability names are there", () => {
  const page = readText("docs/reliability.md");
  const named = [...new Set(page.match(/__tests__\/[\w./-]+\w/g))];
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((path) => !exists(path))).toEqual([]);
});
