import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { MAX_CONFIG_BYTES } from "../config/yaml-text.ts";
import { InvalidInputError } from "../domain/errors.ts";

/**
 * A config file's text as it is checked out; undefined where there is none. A symbolic link may lead to another file of the
 * repository: what is elsewhere on the runner is not read, since errors show parts of what is.
 * @throws InvalidInputError where the path leads out of the repository, or to no file
 */
export async function readCheckedOut(workspace: string, path: string): Promise<string | undefined> {
  const wrong = (message: string): InvalidInputError =>
    new InvalidInputError([{ where: "input config", message: `${path} ${message}` }]);
  const [root, place] = await Promise.all([realpath(workspace), realpath(join(workspace, path))]).catch(
    () => [undefined, undefined],
  );
  if (root === undefined || place === undefined) return undefined;
  if (place !== root && !place.startsWith(root === sep ? sep : `${root}${sep}`))
    throw wrong("leads out of the repository by a symbolic link");
  let file: FileHandle | undefined;
  try {
    // A pipe would be waited for.
    file = await open(place, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!(await file.stat()).isFile()) throw wrong("is no file");
    // One more than is taken: then it is known to be too long.
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(MAX_CONFIG_BYTES + 1),
      0,
      MAX_CONFIG_BYTES + 1,
      0,
    );
    return buffer.subarray(0, bytesRead).toString("utf8");
  } finally {
    await file?.close();
  }
}
