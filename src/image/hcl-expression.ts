/**
 * Values of Packer variables as HCL expressions. Packer takes the text that it is given for a variable of the type
 * `string` or `number`, or without a type, as it is, and parses it as an expression for every other type
 * (`expressionFromVariableDefinition` in Packer's `hcl2template/types.variables.go`; tried with Packer 1.6.6). In an
 * expression `${` and `%{` begin a template, which can refer to nothing there: "Variables not allowed".
 */

/**
 * The expression whose value is a text that somebody gave for a variable.
 *
 * - JSON is data: the expression has the same value, whatever its strings contain.
 * - Lists, maps and strings in HCL's own syntax stay, but `${` and `%{` that are not escaped yet become text.
 * - Anything else is a string: Packer says that the type is wrong, instead of "Variables not allowed".
 */
export function hclExpression(text: string): string {
  if (isJson(text)) return fromJson(text);
  if (/^\s*(?:[[{"(]|<<)/.test(text)) return text.replace(/(?<!\$)\$(?=\{)|(?<!%)%(?=\{)/g, doubled);
  return fromJson(JSON.stringify(text));
}

/** A map of texts as an HCL expression. */
export function hclMap(map: Readonly<Record<string, string>>): string {
  return fromJson(JSON.stringify(map));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * JSON in HCL's syntax. Numbers stay as they are written. Line breaks between the parts go: HCL ends an attribute at them,
 * even before a comma.
 */
function fromJson(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|\s+/g, (part) => (part.startsWith('"') ? fromJsonString(part) : ""));
}

/** HCL knows fewer escapes than JSON, and has templates (HCL native syntax specification, "Template Expressions"). */
function fromJsonString(string: string): string {
  return string
    .replace(/\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u[\da-fA-F]{4}|.)/g, (escape) => {
      if (escape.length > 6) return JSON.parse(`"${escape}"`) as string;
      if (/^\\u[dD][89a-fA-F]/.test(escape)) return "\ufffd";
      return ESCAPES[escape] ?? escape;
    })
    .replace(/[$%](?=\{)/g, doubled);
}

const ESCAPES: Readonly<Record<string, string>> = { "\\/": "/", "\\b": "\\u0008", "\\f": "\\u000c" };

// By a function: in a replacement's text, `$$` means one `$`.
const doubled = (sign: string): string => sign + sign;
