import { StringDecoder } from "node:string_decoder";
import { wholeCharacters } from "../domain/printable.ts";

/**
 * Longest line that is handed on, characters: a program may print without an end. Whoever shows lines cuts them far
 * earlier, after secrets are left out: half of one at this place is never seen.
 */
const MAX_LINE = 256 * 1024;

/**
 * Makes whole lines of a program's output, in whatever pieces it comes: a secret that two of them share is found only in
 * the line.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";
  /** The beginning of the line that is being read was handed on already. */
  #skips = false;

  /** The lines that a piece completes, and the beginning of one that is longer than any is kept. */
  add(piece: Uint8Array): string[] {
    const [first = "", ...others] = (this.#rest + this.#decoder.write(piece)).split("\n");
    const lines: string[] = [];
    let rest = first;
    for (const other of others) {
      if (!this.#skips) lines.push(cut(rest.replace(/\r$/, "")));
      this.#skips = false;
      rest = other;
    }
    if (this.#skips) rest = "";
    else if (rest.length > MAX_LINE) {
      lines.push(cut(rest));
      this.#skips = true;
      rest = "";
    }
    this.#rest = rest;
    return lines;
  }

  /** The last line, where no line end came behind it. */
  end(): string[] {
    const last = this.#rest + this.#decoder.end();
    this.#rest = "";
    return last === "" || this.#skips ? [] : [last];
  }
}

function cut(line: string): string {
  return line.length > MAX_LINE ? `${wholeCharacters(line, MAX_LINE)}… (cut: the line goes on)` : line;
}
