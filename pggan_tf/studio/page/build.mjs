// Writes studio.js, studio.css and index.html: into this folder, or into the one that is named.
import { build } from "esbuild";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? here;
await build({
  absWorkingDir: here,
  entryPoints: { studio: "src/main.tsx" },
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none", // the licences of what is bundled: LICENCES.txt
  outdir: out,
  logLevel: "warning",
});
await build({
  absWorkingDir: here,
  entryPoints: { studio: "src/style/index.css" },
  bundle: true,
  minify: true,
  charset: "utf8",
  target: ["chrome123", "firefox120", "safari17.5"], // the first that know light-dark()
  outdir: out,
  logLevel: "warning",
});
await copyFile(join(here, "src/index.html"), join(out, "index.html"));
