// node build.mjs WIT_FOLDER APP OUT: a component of the world stock:guest/http.
import { writeFileSync } from "node:fs";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, sourcePath, out] = process.argv.slice(2);
const { component } = await componentize({ sourcePath, witPath, worldName: "http" });
writeFileSync(out, component);
