import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";
import { pages, readPage } from "./pages.js";

const INDEX = "docs/README.md";

const CODE_BLOCK = /^```[\s\S]*?^```/gm;

/** A page without its blocks of code. */
const textOf = (page: string): string => readPage(page).replace(CODE_BLOCK, "");

interface Link {
  readonly page: string;
  readonly target: string;
  /** From the package's root; the page itself for a bare anchor. */
  readonly path: string;
  readonly anchor: string;
}

function linksOf(page: string): Link[] {
  // Within code, brackets and parentheses are no link.
  const prose = textOf(page).replace(/`[^`\n]*`/g, "code");
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path, anchor = ""] = target.split("#", 2);
      const resolved = path === "" ? page : join(dirname(page), path!);
      return { page, target, path: resolved, anchor };
    });
}

/** Anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = [...textOf(page).matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading]) => {
    const plain = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{N} _-]/gu, "").replace(/ /g, "-");
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
  return new Set(anchors);
}

const links = pages.flatMap(linksOf);

test("every relative link of every page leads to a file, and its anchor to a heading", () => {
  assert.ok(links.length > 50, "the links were found");
  const broken = links.filter(({ path, anchor }) => {
    if (!existsSync(join(packageRoot, path))) return true;
    return anchor !== "" && path.endsWith(".md") && !anchorsOf(path).has(anchor);
  });
  assert.deepEqual(
    broken.map(({ page, target }) => `${page}: ${target}`),
    [],
  );
});

test("every page of docs/ is in its index", () => {
  const indexed = new Set(linksOf(INDEX).map(({ path }) => path));
  const missing = pages.filter((page) => page.startsWith("docs/") && page !== INDEX && !indexed.has(page));
  assert.deepEqual(missing, []);
});

test("every file that the glossary names is there", () => {
  const page = textOf("docs/ARCHITECTURE.md");
  const glossary = page.slice(page.indexOf("\n## Glossary\n"));
  const paths = [...glossary.matchAll(/`([\w/]+(?:\.ts|\/))`/g)].map(([, path]) => path!);
  assert.ok(paths.length > 40, "the files were found");
  assert.deepEqual(
    paths.filter((path) => !existsSync(join(packageRoot, "src", path))),
    [],
  );
});
