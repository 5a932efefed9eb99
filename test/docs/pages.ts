import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/ops/package.js";

/** Paths from the package's root; without folders that are installed, built or hidden. */
function pagesIn(folder: string): string[] {
  return readdirSync(join(packageRoot, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) return path.endsWith(".md") ? [path] : [];
    return /^\.|^(?:node_modules|dist)$/.test(entry.name) ? [] : pagesIn(path);
  });
}

/** All Markdown pages, as paths from the package's root. */
export const pages: readonly string[] = pagesIn("");

export const readPage = (page: string): string => readFileSync(join(packageRoot, page), "utf8");
