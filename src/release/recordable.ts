import { LAST_NUMBER } from "../domain/release-tag.ts";
import type { Repository } from "../github/repository.ts";
import { type LedgerOwner, type LedgerPage, tagsInTheWay } from "./ledger.ts";

/** Why a release to an environment could not be recorded, and what to do about it. */
export interface RecordObstacle {
  readonly message: string;
  readonly remedy: string;
}

/**
 * What keeps git from taking an environment's next record. It is asked before anything changes: a release that can never
 * be recorded must not be rolled out. Only the first release of an environment needs a request for it.
 */
export async function recordObstacles(
  repository: Repository,
  owner: LedgerOwner,
  environment: string,
  page: LedgerPage,
): Promise<readonly RecordObstacle[]> {
  const path = `${owner.recordPrefix}/${environment}`;
  const inTheWay = await tagsInTheWay(repository, owner, environment, page);
  const above = inTheWay.map((name) => ({
    message: `The tag ${name} keeps git from creating records below ${path}/: no release to ${environment} could be recorded`,
    remedy: `Delete the tag (\`git push origin :refs/tags/${name}\`), or choose another \`record-prefix\` in the config file.`,
  }));
  if (page.nextNumber <= LAST_NUMBER) return above;
  return [
    ...above,
    {
      message: `No release number of ${environment} is left: the highest tag below ${path}/ is ${page.nextNumber - 1}, and ${LAST_NUMBER} is the last`,
      remedy: `See \`git ls-remote --tags origin '${path}/99*'\`: delete records that no run of yours has written, or choose another \`record-prefix\` in the config file.`,
    },
  ];
}
