import type { Readable } from "node:stream";

/** Reads a stream by lines, by lengths and by single status bytes, as scp's protocol mixes them. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    // A channel that is destroyed once the input was read could not answer any more.
    this.#chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  /** The next line without its end, or undefined at the end of the stream. */
  async line(): Promise<string | undefined> {
    let end = this.#rest.indexOf("\n");
    while (end === -1) {
      if (!(await this.#more())) return undefined;
      end = this.#rest.indexOf("\n");
    }
    const line = this.#rest.toString("utf8", 0, end);
    this.#rest = this.#rest.subarray(end + 1);
    return line;
  }

  /** Exactly `size` bytes, in pieces. */
  async *take(size: number): AsyncGenerator<Buffer> {
    let missing = size;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw new Error("lost connection");
      const piece = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(piece.length);
      missing -= piece.length;
      yield piece;
    }
  }

  /** The other side's answer: a zero byte, or an error and its text. The end of the stream counts as consent. */
  async status(): Promise<void> {
    if (this.#rest.length === 0 && !(await this.#more())) return;
    const code = this.#rest[0];
    this.#rest = this.#rest.subarray(1);
    if (code !== 0) throw new Error((await this.line()) ?? "protocol error");
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done === true) return false;
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    return true;
  }
}
