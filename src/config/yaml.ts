import {
  type Alias,
  type Document,
  isAlias,
  isCollection,
  isNode,
  isPair,
  isScalar,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  parseDocument,
  visit,
  type YAMLError,
} from "yaml";
import { ConfigError, type Problem } from "./error.js";

/** Longest configuration, in bytes. */
export const MAX_BYTES = 1024 * 1024;
/** Deepest nesting, aliases included. A configuration has at most six levels. */
const MAX_DEPTH = 64;
/** Maximum number of values, with each alias replaced by its value. */
const MAX_NODES = 100_000;

/** Tags that do not change the value. */
const PLAIN_TAGS = /^tag:yaml\.org,2002:(str|int|float|bool|null|seq|map)$/;

export interface Yaml {
  readonly document: Document;
  readonly lines: LineCounter;
}

/**
 * Parses one YAML document that is safe to convert to data. Throws `ConfigError` for everything else: invalid or too large
 * texts, aliases that contain themselves or multiply, tags, and keys that are not plain text.
 */
export function readYaml(text: string, source: string): Yaml {
  const lines = new LineCounter();
  const fail = (...found: readonly Found[]): never => {
    const lineOf = (at: number | undefined) =>
      at === undefined ? undefined : text.slice(0, at).split("\n").length;
    const problems = found.map(({ at, message }): Problem => ({ path: "", line: lineOf(at), message }));
    throw new ConfigError(source, problems);
  };
  if (Buffer.byteLength(text) > MAX_BYTES) fail({ message: `is longer than ${MAX_BYTES} bytes` });
  const tooDeep = deepest(text);
  if (tooDeep !== undefined) fail({ at: tooDeep, message: TOO_DEEP });
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0)
    fail(...broken.map((error) => ({ at: error.pos[0], message: describe(error, text) })));
  const found = new Walk(document).run();
  if (found !== undefined) fail(found);
  return { document, lines };
}

interface Found {
  /** Offset in the text. */
  readonly at?: number | undefined;
  readonly message: string;
}

const TOO_DEEP = `is nested more than ${MAX_DEPTH} deep`;

/** Offset at which the text is nested too deep for the recursive parser; undefined if it is not. */
function deepest(text: string): number | undefined {
  const lexer = new Lexer();
  const parser = new Parser();
  for (const lexeme of lexer.lex(text)) {
    for (const _ of parser.next(lexeme));
    // The document, the open collections, and the token being read.
    if (parser.stack.length > MAX_DEPTH + 2) return parser.offset;
  }
  return undefined;
}

function describe({ code, message, pos }: YAMLError, text: string): string {
  if (code === "DUPLICATE_KEY") {
    const [key = ""] = /^[^\s:]*/.exec(text.slice(pos[0], pos[0] + 80)) ?? [];
    return `${key} is given twice`;
  }
  if (code === "MULTIPLE_DOCS") return "has several documents (---); only one is allowed";
  if (code === "TAG_RESOLVE_FAILED") return `tags have no meaning here (${message})`;
  return message;
}

/** Checks all values, with every alias replaced by its value. */
class Walk {
  private nodes = 0;
  /** The collections around the current value. */
  private readonly around: unknown[] = [];
  private readonly targets = new Map<Alias, Node | undefined>();

  constructor(private readonly document: Document) {
    const anchors = new Map<string, Node>();
    visit(document, {
      Node: (_key, node) => {
        if (isAlias(node)) this.targets.set(node, anchors.get(node.source));
        else if (node.anchor !== undefined) anchors.set(node.anchor, node);
      },
    });
  }

  /** Returns the first problem. */
  run(): Found | undefined {
    return this.value(this.document.contents, undefined);
  }

  /** `at`: offset of the outermost alias that led here. */
  private value(node: unknown, at: number | undefined): Found | undefined {
    if (!isNode(node)) return undefined;
    const place = at ?? node.range?.[0];
    if (++this.nodes > MAX_NODES) return { at: place, message: `has more than ${MAX_NODES} values` };
    if (isAlias(node)) return this.alias(node, place);
    if (node.tag !== undefined && !PLAIN_TAGS.test(node.tag)) {
      return { at: place, message: `tags have no meaning here (${node.tag})` };
    }
    if (!isCollection(node)) return undefined;
    if (this.around.length >= MAX_DEPTH) return { at: place, message: TOO_DEEP };
    this.around.push(node);
    let found: Found | undefined;
    for (const item of node.items) {
      found = isPair(item) ? this.pair(item, at) : this.value(item, at);
      if (found !== undefined) break;
    }
    this.around.pop();
    return found;
  }

  private pair({ key, value }: Pair, at: number | undefined): Found | undefined {
    if (!isScalar(key) || key.value === null) {
      const place = at ?? (isNode(key) ? key.range?.[0] : undefined);
      return { at: place, message: "has a key that is not plain text" };
    }
    return this.value(value, at);
  }

  private alias(alias: Alias, at: number | undefined): Found | undefined {
    const target = this.targets.get(alias);
    if (target === undefined)
      return { at, message: `*${alias.source}: there is no &${alias.source} before it` };
    if (this.around.includes(target)) return { at, message: `*${alias.source} is a part of itself` };
    return this.value(target, at);
  }
}
