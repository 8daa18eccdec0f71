import { Buffer } from "node:buffer";
import { posix } from "node:path";

/**
 * Paths as git and the file system have them are bytes; Kiln keeps them as text. A name that is UTF-8 is that text. Any
 * other name has each byte above 0x7f as the lone surrogate U+DC00 + byte, which no UTF-8 name contains, so that different
 * names stay different and can be turned back into bytes.
 */
const FIRST_ODD_BYTE = 0xdc80;
const LAST_ODD_BYTE = 0xdcff;

/** @param bytes a path, one character per byte (latin1) */
export function pathOfBytes(bytes: string): string {
  // oxlint-disable-next-line no-control-regex
  if (/^[\0-\x7f]*$/.test(bytes)) return bytes;
  return bytes.split("/").map(nameOfBytes).join("/");
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function nameOfBytes(bytes: string): string {
  try {
    return utf8.decode(Buffer.from(bytes, "latin1"));
  } catch {
    return bytes.replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(byte.charCodeAt(0) + 0xdc00));
  }
}

/** The bytes of a path. */
export function bytesOfPath(path: string): Buffer {
  if (path.isWellFormed()) return Buffer.from(path);
  const names = path.split("/").map((name) => (name.isWellFormed() ? Buffer.from(name) : oddBytes(name)));
  return Buffer.concat(names.flatMap((name, index) => (index === 0 ? [name] : [SLASH, name])));
}

const SLASH = Buffer.from("/");

function oddBytes(name: string): Buffer {
  const codes = name.split("").map((unit) => unit.charCodeAt(0));
  return Buffer.from(
    codes.map((code) => (code >= FIRST_ODD_BYTE && code <= LAST_ODD_BYTE ? code - 0xdc00 : code)),
  );
}

/** A path of the repository as the file system takes it. */
export function diskPath(folder: string, path: string): string | Buffer {
  const full = posix.join(folder, path);
  return full.isWellFormed() ? full : bytesOfPath(full);
}

/** True if a path is this file, or below this folder; `.` is the whole repository. */
export function isWithin(path: string, fileOrFolder: string): boolean {
  return fileOrFolder === "." || path === fileOrFolder || path.startsWith(`${fileOrFolder}/`);
}

export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
