/** Where something is written: a file relative to the repository's root; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A part of a file, in UTF-16 code units. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The longest excerpt of a file in a message. */
const MAX_EXCERPT = 120;

/** A text file of the repository, with the places of its parts. */
export class SourceText {
  readonly path: string;
  readonly text: string;
  #lines: readonly number[] | undefined;

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
  }

  /** The line and column of an offset. */
  placeOf(offset: number): Place {
    const starts = (this.#lines ??= lineStarts(this.text));
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file: this.path, line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  }

  /** What is written there, in one line, cut if it is long. */
  excerpt({ start, end }: Span): string {
    const cut = this.text.slice(start, Math.min(end, start + MAX_EXCERPT));
    const line = cut.replaceAll("\n", " ").replaceAll("\r", " ").trim();
    return end - start > MAX_EXCERPT ? `${line}…` : line;
  }
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
