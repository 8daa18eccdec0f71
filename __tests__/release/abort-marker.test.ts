import { beforeEach, expect, test } from "vitest";
import {
  type AbortMarker,
  deleteAbortMarker,
  parseAbortMarker,
  readAbortMarker,
  writeAbortMarker,
} from "../../src/release/abort-marker.ts";
import { InMemoryRepository } from "./in-memory-repository.ts";
import { COMMIT } from "./records.ts";

const KEY = { prefix: "release/api", environment: "production" };
const MARKER: AbortMarker = {
  after: 2,
  run: "https://github.com/acme/web/actions/runs/7",
  aborted: [
    {
      region: "eu-west-1",
      group: "web production",
      refresh: "b96cca13-2143-42ed-a55b-db768722a8b2",
      image: "ami-0aaaaaaaaaaaaaaaa",
    },
    { region: "us-east-1", group: "web", refresh: "8dbc9574", image: "ami-0bbbbbbbbbbbbbbbb" },
  ],
};
let repository: InMemoryRepository;

beforeEach(() => {
  repository = new InMemoryRepository();
});

test("a marker is kept by ledger and environment, and says the same when it is read", async () => {
  await writeAbortMarker(repository, KEY, MARKER, COMMIT);
  expect([...repository.refs.keys()]).toEqual(["refs/kiln/stopped/release/api/production"]);
  expect(await readAbortMarker(repository, KEY)).toEqual(MARKER);
  expect(await readAbortMarker(repository, { ...KEY, prefix: "release" })).toBeUndefined();
  const next = { ...MARKER, after: 3 };
  await writeAbortMarker(repository, KEY, next, COMMIT);
  expect(await readAbortMarker(repository, KEY)).toEqual(next);
  await deleteAbortMarker(repository, KEY);
  expect(await readAbortMarker(repository, KEY)).toBeUndefined();
});

const message = (...lines: string[]): string => `Aborted a release\n\n${lines.join("\n")}\n`;
const AFTER = "After: 2";
const RUN = "Run: https://github.com/acme/web/actions/runs/7";
const ABORTED = "Aborted: eu-west-1 web b96cca13 ami-0aaaaaaaaaaaaaaaa";

test.each([
  ["nothing but the number, as anybody may write it", message(AFTER)],
  ["no refresh", message(AFTER, RUN)],
  ["no number", message(RUN, ABORTED)],
  ["a number that is none", message("After: 2x", RUN, ABORTED)],
  ["a run that is no address", message(AFTER, "Run: 7", ABORTED)],
  ["an image that is none", message(AFTER, RUN, ABORTED.replace("ami-0aaa", "ami-*"))],
  ["a line of another form beside a good one", message(AFTER, RUN, ABORTED, "Aborted: *")],
  ["more than is read", message(AFTER, RUN, ...Array.from({ length: 1000 }, () => ABORTED))],
  ["no body", "hello"],
])("a marker says nothing with %s", (_, text) => {
  expect(parseAbortMarker(text)).toBeUndefined();
  expect(parseAbortMarker(message(AFTER, RUN, ABORTED))).toMatchObject({ after: 2 });
});
