/** One sample of a running process. */
export interface Sample {
  /** The function, if known. */
  readonly symbol: string;
  /** The file that contains it. */
  readonly dso: string;
}

interface Compiled {
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

/**
 * Parses the samples in the output of `perf script -F ip,sym,dso`. `map` is V8's map of compiled functions. Memory is reused, so
 * the last of several functions at an address counts.
 */
export function resolveSymbols(script: string, map: string): Sample[] {
  const compiled: Compiled[] = [];
  for (const line of map.split("\n")) {
    const match = /^([0-9a-f]+) ([0-9a-f]+) (.*)$/.exec(line);
    if (match === null) continue;
    const start = Number.parseInt(match[1], 16);
    compiled.push({ start, end: start + Number.parseInt(match[2], 16), name: match[3] });
  }
  compiled.reverse();
  const known = new Map<number, string | undefined>();
  const nameAt = (address: number): string | undefined => {
    if (!known.has(address))
      known.set(address, compiled.find(({ start, end }) => address >= start && address < end)?.name);
    return known.get(address);
  };
  return script.split("\n").flatMap((line) => {
    const match = /^\s*([0-9a-f]+) (.*) \(([^()]*)\)\s*$/.exec(line);
    if (match === null) return [];
    const [, address, symbol, dso] = match;
    const isCompiled = dso.includes("JIT") || dso.includes("/perf-") || dso.includes("//anon");
    const name = isCompiled ? nameAt(Number.parseInt(address, 16)) : undefined;
    return [{ symbol: shorten(name ?? symbol), dso: isCompiled ? "compiled" : dso }];
  });
}

/** The part of the program that a sample belongs to: one of our rooms, or a layer below them. */
export function partOf({ symbol, dso }: Sample): string {
  if (dso.startsWith("[kernel") || dso.startsWith("[guest")) return "kernel";
  if (dso === "compiled") {
    const room = /^[A-Za-z]+:\S* (\w+)\//.exec(symbol)?.[1];
    if (room !== undefined) return `src/${room}`;
    return symbol.includes("node:") ? "Node.js, JavaScript" : "V8, other compiled code";
  }
  if (/Scaveng|MarkCompact|Sweep|Evacuat|Marking|GarbageCollect|RememberedSet/.test(symbol))
    return "garbage collector";
  if (/compiler::|maglev|Turbo|interpreter::|Parser|baseline::/.test(symbol)) return "compiling";
  if (/Builtins_/.test(symbol)) return "V8, builtins";
  if (/v8::/.test(symbol)) return "V8, runtime";
  if (/node::|uv_/.test(symbol)) return "Node.js and libuv, C++";
  return "other libraries";
}

/** `JS:*flush file:///…/dist/src/http2/outbox.js:207:10` becomes `JS:*flush http2/outbox.js:207:10`. */
const shorten = (symbol: string): string => symbol.replace(/file:\/\/\S*\/src\//, "");
