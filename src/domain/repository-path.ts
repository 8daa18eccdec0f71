/**
 * Whether a path is one inside the repository, relative to its root: by its letters only; that no symbolic link leads it out
 * is seen where it is opened. Control characters would be other lines or nothing at all to the programs that get it.
 */
export function isRepositoryPath(path: string): boolean {
  return (
    path !== "" &&
    path.length <= MAX_LENGTH &&
    !path.startsWith("/") &&
    !path.split("/").includes("..") &&
    !/[\p{Cc}\p{Cs}]/u.test(path)
  );
}

/** Characters; Linux takes 4096 bytes. */
const MAX_LENGTH = 1000;
