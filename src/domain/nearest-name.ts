import { closest } from "fastest-levenshtein";

/** Shorter names are the beginning of too much. */
const MIN_BEGINNING = 3;

/**
 * The known name that was most likely meant. A name that begins with what was written, or the other way round, comes
 * before one that fewer letters tell apart: `prod` means `production`, not `dev`.
 * @param known at least one name
 */
export function nearestName(written: string, known: readonly string[]): string {
  const text = written.toLowerCase();
  const related = known.filter((name) => {
    const candidate = name.toLowerCase();
    return candidate.startsWith(text) || (candidate.length >= MIN_BEGINNING && text.startsWith(candidate));
  });
  return closest(written, related.length > 0 ? related : known);
}
