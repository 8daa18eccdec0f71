import type { HclAttribute, HclBlock, HclItem } from "./expression.ts";
import { goTemplate } from "./go-template.ts";
import { jsonExpression } from "./json-template.ts";
import {
  itemsOf,
  type JsonMember,
  type JsonValue,
  memberOf,
  membersOf,
  readJsonText,
  textOf,
} from "./json-text.ts";

/**
 * Legacy JSON templates, read into the blocks that an HCL2 template has: builders are `source` blocks, and one `build` block has
 * the provisioners and post-processors (packer-plugin-sdk, `template/parse.go`).
 */

/** The blocks of a legacy template; none of a text that is not JSON. */
export function readLegacyTemplate(text: string): readonly HclItem[] {
  const document = readJsonText(text);
  if (document === undefined) return [];
  const { start, end } = document;
  const builders = itemsOf(memberOf(document, "builders")).map(builderBlock);
  const body: readonly HclItem[] = [
    {
      kind: "attribute",
      name: "sources",
      value: {
        kind: "list",
        operands: builders.map(({ labels, ...span }) => ({
          kind: "literal",
          value: labels[1] ?? "",
          start: span.start,
          end: span.end,
        })),
        start,
        end,
      },
      start,
      end,
    },
    ...itemsOf(memberOf(document, "provisioners")).map((each) => typedBlock("provisioner", each)),
    ...itemsOf(memberOf(document, "error-cleanup-provisioner")).map((each) =>
      typedBlock("error-cleanup-provisioner", each),
    ),
    // Each is a name, an object, or a list of those that run one after another.
    ...itemsOf(memberOf(document, "post-processors")).flatMap((each) =>
      itemsOf(each).map((one) => typedBlock("post-processor", one)),
    ),
  ];
  return [
    ...variableBlocks(document),
    ...builders,
    { kind: "block", type: "build", labels: [], body, start, end },
  ];
}

/** The attributes of a legacy variable file. */
export function readLegacyAttributes(text: string): readonly HclAttribute[] {
  return membersOf(readJsonText(text)).map(attributeFrom);
}

function variableBlocks(document: JsonValue): readonly HclBlock[] {
  const sensitive = new Set(itemsOf(memberOf(document, "sensitive-variables")).map(textOf));
  return membersOf(memberOf(document, "variables")).map((member) => {
    const { name, start, end } = member;
    const mark = { kind: "literal" as const, value: true, start, end };
    const isRequired = member.value.kind === "constant" && member.value.value === null;
    const body: readonly HclItem[] = [
      ...(isRequired ? [] : [{ ...attributeFrom(member), name: "default" }]),
      ...(sensitive.has(name)
        ? [{ kind: "attribute" as const, name: "sensitive", value: mark, start, end }]
        : []),
    ];
    return { kind: "block", type: "variable", labels: [name], body, start, end };
  });
}

function builderBlock(value: JsonValue): HclBlock {
  const type = textOf(memberOf(value, "type")) ?? "";
  const name = textOf(memberOf(value, "name")) ?? type;
  return { ...typedBlock("source", value), labels: [type, name] };
}

function typedBlock(kind: string, value: JsonValue): HclBlock {
  const { start, end } = value;
  const type = textOf(value) ?? textOf(memberOf(value, "type")) ?? "";
  const body = membersOf(value)
    .filter(({ name }) => name !== "type")
    .map(attributeFrom);
  return { kind: "block", type: kind, labels: [type], body, start, end };
}

function attributeFrom({ name, value, start, end }: JsonMember): HclAttribute {
  return { kind: "attribute", name, value: jsonExpression(value, goTemplate), start, end };
}
