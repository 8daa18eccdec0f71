/**
 * Builds dist/: what runners execute. Rollup and terser gave less than half the size and cold start of the alternatives
 * that were measured; types are stripped by Node itself, since the sources hold nothing but erasable syntax.
 */
import { rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import commonjs from "@rollup/plugin-commonjs";
import json from "@rollup/plugin-json";
import resolve from "@rollup/plugin-node-resolve";
import terser from "@rollup/plugin-terser";
import { type Plugin, rollup } from "rollup";
import { licensesOf } from "./licenses.ts";

const OUTPUT = "dist";

const typescript: Plugin = {
  name: "strip-types",
  transform: (code, id) => (id.endsWith(".ts") ? { code: stripTypeScriptTypes(code), map: null } : null),
};

/** Modules whose import does nothing by itself, so that what nobody calls is left out: @actions/core's OIDC client brings undici. */
const WITHOUT_SIDE_EFFECTS =
  /node_modules\/(?:@actions|@aws-sdk|@smithy|@aws|@octokit|zod|yaml|undici|tunnel)\//;

const bundle = await rollup({
  input: { index: "src/main.ts", post: "src/post.ts" },
  plugins: [typescript, resolve({ preferBuiltins: true, exportConditions: ["node"] }), commonjs(), json()],
  treeshake: { moduleSideEffects: (id) => !WITHOUT_SIDE_EFFECTS.test(id) },
  onwarn(warning, warn) {
    if (warning.code === "CIRCULAR_DEPENDENCY" && /node_modules/.test(warning.message)) return;
    // Notes for other bundlers in libraries' comments; nothing of ours is concerned.
    if (warning.code === "THIS_IS_UNDEFINED" || warning.code === "INVALID_ANNOTATION") return;
    warn(warning);
  },
});
await rm(OUTPUT, { recursive: true, force: true });
const { output } = await bundle.write({
  dir: OUTPUT,
  format: "esm",
  entryFileNames: "[name].js",
  chunkFileNames: "chunks/[name]-[hash].js",
  hoistTransitiveImports: false,
  plugins: [terser({ module: true, ecma: 2020 })],
});
await bundle.close();
const modules = output.flatMap((chunk) => (chunk.type === "chunk" ? chunk.moduleIds : []));
await writeFile(`${OUTPUT}/LICENSES.txt`, licensesOf(modules));
await writeFile(`${OUTPUT}/package.json`, `${JSON.stringify({ type: "module" })}\n`);
