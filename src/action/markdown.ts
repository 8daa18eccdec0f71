import { shortened } from "../domain/printable.ts";

/** Text from outside in Markdown: whatever it holds, it is text there, in the place that it was put. */

/** Characters of a text within a line. */
const MAX_INLINE = 1000;
/** Characters of a block. */
const MAX_BLOCK = 100_000;

/** One line without what shows nothing or turns what follows around; white space is one blank. */
function oneLine(text: string): string {
  const line = text.replace(/[\s\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").replace(/[\p{Cf}\p{Cs}]/gu, "");
  return shortened(line.trim(), MAX_INLINE);
}

/**
 * Text of a table's cell or a list's item. What is special anywhere is escaped; so is what is at the beginning of a line
 * (headings, lists, rules). Addresses make no links, and a word joiner after `@` keeps people from being mentioned.
 */
export function cell(text: string): string {
  return oneLine(text)
    .replace(/[\\`*_{}[\]<>|~$&]/g, (character) => `\\${character}`)
    .replace(/^[#+=-]/, (character) => `\\${character}`)
    .replace(/^(\d{1,9})(?=[.)])/, "$1\\")
    .replace(/:(?=\/\/)|(?<=www)\./gi, (character) => `\\${character}`)
    .replace(/@(?=\w)/g, "@\u2060");
}

/** A name or a value as code. In a table a backslash would free the bar behind it, and nothing escapes a backtick. */
export function code(text: string): string {
  const line = oneLine(text);
  if (line === "") return "";
  return /[\\`]/.test(line) ? cell(line) : `\`${line.replaceAll("|", "\\|")}\``;
}

/** Text within a line of HTML, where Markdown's escapes would be shown. */
export function html(text: string): string {
  return oneLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A code block whose fence nothing in the text can close. */
export function fence(text: string): string {
  const block = shortened(text.trimEnd(), MAX_BLOCK).replaceAll("\0", "");
  const longest = [...block.matchAll(/`+/g)].reduce((most, [ticks]) => Math.max(most, ticks.length), 2);
  const ticks = "`".repeat(longest + 1);
  return `${ticks}text\n${block}\n${ticks}`;
}

/** A link; nothing in the address can end it. `words` is Markdown already. */
export function link(words: string, address: string): string {
  const escaped = encodeURI(address.toWellFormed()).replace(/[()]/g, (character) =>
    character === "(" ? "%28" : "%29",
  );
  return `[${words}](${escaped})`;
}

/** Items of a list, the first of many. */
export function items(lines: readonly string[], most: number): string {
  const more = lines.length - most;
  return [
    ...lines.slice(0, most).map((line) => `- ${cell(line)}`),
    ...(more > 0 ? [`- … and ${more} more`] : []),
  ].join("\n");
}
