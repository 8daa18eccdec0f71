import { describe, expect, test } from "vitest";
import {
  type ImageFacts,
  type ImageFiles,
  imageRef,
  keepImageFiles,
  readImageFiles,
} from "../../src/release/image-files.ts";
import { InMemoryRepository } from "./in-memory-repository.ts";

const DIGEST = `sha256:${"d".repeat(64)}` as const;
const REF = `refs/kiln/images/${"d".repeat(64)}`;
const IMAGE: ImageFacts = {
  version: "v1",
  digest: DIGEST,
  name: "web-v1-dddddddddddd",
  images: { "us-east-1": "ami-0cccccccccccccccc", "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" },
  baseImages: { "eu-west-1": "ami-0bbbbbbbbbbbbbbbb" },
  commit: "c".repeat(40),
  created: "2026-11-18T10:05:00.000Z",
};
const FILES: ImageFiles & { image: ImageFacts } = {
  packages: "bash 5.2\n",
  content: "template t\n",
  image: IMAGE,
};
const SECOND: ImageFacts = {
  ...IMAGE,
  name: "web-v1-dddddddddddd-2",
  images: { "eu-west-1": "ami-0eeeeeeeeeeeeeeee" },
  created: "2026-11-19T10:05:00.000Z",
};

function watched(): { repository: InMemoryRepository; requests: string[] } {
  const repository = new InMemoryRepository();
  const requests: string[] = [];
  repository.onRequest = (name) => requests.push(name);
  return { repository, requests };
}

test("the ref is named by the digest's digits", () => {
  expect(imageRef(DIGEST)).toBe(REF);
});

describe("keeping an image's files", () => {
  test("makes a tree, a commit and the content's ref, and nothing else", async () => {
    const { repository, requests } = watched();
    const { commit } = await keepImageFiles(repository, FILES, "ada");
    expect(requests).toStrictEqual(["createTree", "createCommit"]);
    expect(repository.refs.get(REF)).toBe(commit);
    expect(repository.commits.get(commit)).toMatchObject({
      parent: undefined,
      message: "Image web-v1-dddddddddddd\n",
      author: { name: "ada", email: "ada@users.noreply.github.com" },
      date: new Date(IMAGE.created),
    });
    expect([...repository.trees.values()]).toStrictEqual([
      {
        "content.txt": "template t\n",
        "image.json": `${JSON.stringify(
          {
            baseImages: { "eu-west-1": "ami-0bbbbbbbbbbbbbbbb" },
            commit: "c".repeat(40),
            created: "2026-11-18T10:05:00.000Z",
            digest: DIGEST,
            images: { "eu-west-1": "ami-0aaaaaaaaaaaaaaaa", "us-east-1": "ami-0cccccccccccccccc" },
            name: "web-v1-dddddddddddd",
            version: "v1",
          },
          null,
          2,
        )}\n`,
        "packages.txt": "bash 5.2\n",
      },
    ]);
  });

  test("leaves out what is not known", async () => {
    const { repository } = watched();
    await keepImageFiles(repository, { ...FILES, packages: undefined, content: undefined }, "ada");
    expect([...repository.trees.values()].map(Object.keys)).toStrictEqual([["image.json"]]);
  });

  test("again finds the commit, whoever asks", async () => {
    const { repository } = watched();
    const first = await keepImageFiles(repository, FILES, "ada");
    const again = await keepImageFiles(repository, FILES, "bob");
    expect(again.commit).toBe(first.commit);
    expect(repository.refs.get(REF)).toBe(first.commit);
  });

  test("of a further bake is a commit on top", async () => {
    const { repository } = watched();
    const first = await keepImageFiles(repository, FILES, "ada");
    const second = await keepImageFiles(repository, { ...FILES, image: SECOND }, "ada");
    expect(repository.commits.get(second.commit)?.parent).toBe(first.commit);
    expect(repository.refs.get(REF)).toBe(second.commit);
  });

  test("while another run keeps one loses neither", async () => {
    const { repository } = watched();
    const first = await keepImageFiles(repository, FILES, "ada");
    let other: string | undefined;
    let done = false;
    repository.onRequest = (name) => {
      if (name !== "updateRef" || done) return;
      done = true;
      // Somebody else's commit, on what was there when this run looked.
      other = "f".repeat(40);
      repository.commits.set(other, {
        tree: "another",
        parent: first.commit,
        message: "",
        author: { name: "", email: "" },
        date: new Date(0),
      });
      repository.refs.set(REF, other);
    };
    const second = await keepImageFiles(repository, { ...FILES, image: SECOND }, "ada");
    expect(repository.commits.get(second.commit)?.parent).toBe(other);
    expect(repository.refs.get(REF)).toBe(second.commit);
  });

  test("gives up where the ref never stands still", async () => {
    const { repository } = watched();
    await keepImageFiles(repository, FILES, "ada");
    repository.updateRef = async () => "refused";
    await expect(keepImageFiles(repository, { ...FILES, image: SECOND }, "ada")).rejects.toThrow(
      `${REF} could not be moved forward in 5 tries`,
    );
  });
});

describe("reading images' files", () => {
  const twice = async () => {
    const { repository, requests } = watched();
    const first = await keepImageFiles(repository, FILES, "ada");
    const second = await keepImageFiles(
      repository,
      { ...FILES, packages: "bash 5.3\n", image: SECOND },
      "ada",
    );
    requests.length = 0;
    return { repository, requests, first, second };
  };

  test("of two images is one request", async () => {
    const { repository, requests, first, second } = await twice();
    const read = await readImageFiles(repository, [
      { commit: first.commit },
      { digest: DIGEST, id: "ami-0eeeeeeeeeeeeeeee", name: "?" },
    ]);
    expect(read).toStrictEqual([
      { commit: first.commit, files: FILES },
      { commit: second.commit, files: { ...FILES, packages: "bash 5.3\n", image: SECOND } },
    ]);
    expect(requests).toStrictEqual(["readCommitFiles"]);
  });

  test("finds an earlier bake of the content by its id, and a copy by its name", async () => {
    const { repository, first } = await twice();
    const read = await readImageFiles(repository, [
      { digest: DIGEST, id: "ami-0aaaaaaaaaaaaaaaa", name: "?" },
      { digest: DIGEST, id: "ami-0fffffffffffffff0", name: "web-v1-dddddddddddd" },
    ]);
    expect(read.map((kept) => kept?.commit)).toStrictEqual([first.commit, first.commit]);
  });

  test("finds nothing for an image that nobody kept, nor for a commit that is gone", async () => {
    const { repository } = await twice();
    const read = await readImageFiles(repository, [
      { digest: DIGEST, id: "ami-0fffffffffffffff0", name: "?" },
      { digest: `sha256:${"0".repeat(64)}`, id: "ami-0aaaaaaaaaaaaaaaa", name: IMAGE.name },
      { commit: "0".repeat(40) },
    ]);
    expect(read).toStrictEqual([undefined, undefined, undefined]);
  });

  test.each(["no json", "[]", "{}", JSON.stringify({ ...IMAGE, images: { "eu-west-1": "$(reboot)" } })])(
    "takes somebody else's image.json for none: %s",
    async (text) => {
      const { repository } = watched();
      const tree = await repository.createTree({ "image.json": text, "packages.txt": "a 1\n" });
      const commit = await repository.createCommit({
        tree,
        parent: undefined,
        message: "",
        author: { name: "", email: "" },
        date: new Date(0),
      });
      expect(await readImageFiles(repository, [{ commit }])).toStrictEqual([
        { commit, files: { packages: "a 1\n", content: undefined, image: undefined } },
      ]);
    },
  );

  test("of none is no request", async () => {
    const { repository, requests } = watched();
    expect(await readImageFiles(repository, [])).toStrictEqual([]);
    expect(requests).toStrictEqual([]);
  });
});
