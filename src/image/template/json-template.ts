import {
  everyExpression,
  type Expression,
  type HclAttribute,
  type HclBlock,
  type HclItem,
} from "./expression.ts";
import { readHclTemplate } from "./hcl-text.ts";
import { itemsOf, type JsonMember, type JsonValue, membersOf, readJsonText } from "./json-text.ts";
import type { Span } from "./source-text.ts";

/**
 * Templates and variable files in HCL's JSON syntax. Which members are blocks depends on what Packer expects there
 * (JSON syntax specification, https://github.com/hashicorp/hcl/blob/main/json/spec.md): a block's labels are the names of nested
 * objects, and several blocks of a type are a list. Strings are templates.
 */

/** The blocks that Packer knows, with the number of their labels, by the block that they are in. */
const BLOCKS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "": {
    build: 0,
    communicator: 2,
    data: 2,
    local: 1,
    locals: 0,
    packer: 0,
    source: 2,
    variable: 1,
    variables: 0,
  },
  build: {
    "error-cleanup-provisioner": 1,
    hcp_packer_registry: 0,
    "post-processor": 1,
    "post-processors": 0,
    provisioner: 1,
    source: 1,
  },
  "post-processors": { "post-processor": 1 },
  packer: { required_plugins: 0 },
  variable: { validation: 0 },
};

/** The blocks and attributes of a `.pkr.json` file; none of a text that is not JSON. */
export function readJsonTemplate(text: string): readonly HclItem[] {
  return bodyOf(readJsonText(text), "");
}

/** The attributes of a variable file in JSON. */
export function readJsonAttributes(text: string): readonly HclAttribute[] {
  return membersOf(readJsonText(text)).map(attributeFrom);
}

function bodyOf(value: JsonValue | undefined, type: string): readonly HclItem[] {
  const known = BLOCKS[type] ?? {};
  return itemsOf(value).flatMap((each) =>
    membersOf(each).flatMap((member): readonly HclItem[] => {
      const { name } = member;
      if (name === "//" && type !== "variables") return [];
      if (name === "dynamic") return blocksFrom(member, 1, type);
      if (!Object.hasOwn(known, name)) return [attributeFrom(member)];
      return blocksFrom(member, known[name] ?? 0, type);
    }),
  );
}

/** The blocks of a member: below as many objects as there are labels. */
function blocksFrom(
  { name: type, value, start }: JsonMember,
  labelCount: number,
  parent: string,
): readonly HclBlock[] {
  let found: readonly { labels: readonly string[]; value: JsonValue; start: number }[] = itemsOf(value).map(
    (each) => ({ labels: [], value: each, start }),
  );
  for (let label = 0; label < labelCount; label += 1) {
    found = found.flatMap((each) =>
      membersOf(each.value).flatMap((member) =>
        itemsOf(member.value).map((below) => ({
          labels: [...each.labels, member.name],
          value: below,
          start: member.start,
        })),
      ),
    );
  }
  return found.flatMap(({ labels, value: body, start: at }) => {
    if (body.kind !== "object") return [];
    const items = type === "dynamic" ? dynamicBody(body, labels[0] ?? "", parent) : bodyOf(body, type);
    return [{ kind: "block", type, labels, body: items, start: at, end: body.end }];
  });
}

/** A `dynamic` block's `content` is a body of the block that it makes. */
function dynamicBody(body: JsonValue, made: string, parent: string): readonly HclItem[] {
  const type = Object.hasOwn(BLOCKS[parent] ?? {}, made) ? made : "";
  return membersOf(body).flatMap((member): readonly HclItem[] => {
    if (member.name !== "content") return [attributeFrom(member)];
    const { start, end } = member;
    return [{ kind: "block", type: "content", labels: [], body: bodyOf(member.value, type), start, end }];
  });
}

function attributeFrom({ name, value, start, end }: JsonMember): HclAttribute {
  return { kind: "attribute", name, value: jsonExpression(value, hclString), start, end };
}

/** A JSON value as an expression; `string` reads the strings in it. */
export function jsonExpression(
  value: JsonValue,
  string: (text: string, span: Span) => Expression,
): Expression {
  const { start, end } = value;
  switch (value.kind) {
    case "string":
      return string(value.text, { start, end });
    case "number":
      return { kind: "literal", value: Number(value.digits), digits: value.digits, start, end };
    case "constant":
      return { kind: "literal", value: value.value, start, end };
    case "list":
      return { kind: "list", operands: value.items.map((item) => jsonExpression(item, string)), start, end };
    case "object":
    default:
      return {
        kind: "map",
        entries: value.members.map((member) => ({
          key: string(member.name, { start: member.start, end: member.end }),
          value: jsonExpression(member.value, string),
        })),
        start,
        end,
      };
  }
}

/** What is inside a string has the string's place. */
function hclString(text: string, { start, end }: Span): Expression {
  const expression = readHclTemplate(text);
  // The tree was made for this string alone, so that its places can be set.
  for (const each of everyExpression(expression)) Object.assign(each, { start, end });
  return expression;
}
