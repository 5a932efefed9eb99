import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { KeyEntry, KeyPage, ReadableRange } from "../report.js";
import { ApiError, read } from "./api.js";
import { decode, encode, keyText, parseKey, prefixEnd } from "./bytes.js";
import { count, plural } from "./format.js";
import { useReport } from "./hooks.js";
import { Cell, Failure, Table, Title } from "./parts.js";
import { linkTo } from "./route.js";

const SLASH = 0x2f;
/** Entries that one view shows at most. A narrower prefix shows the others. */
const MAX_ENTRIES = 2_000;

/** The tree of keys below a prefix. */
export function KeysView({ prefix }: { prefix: string }): VNode {
  const bytes = decode(prefix);
  const text = keyText(bytes);
  const first = useReport<KeyPage>("keys", prefix, () => ({ prefix }));
  const [more, setMore] = useState<readonly KeyPage[]>([]);
  const [problem, setProblem] = useState<string>();
  const [isLoading, setLoading] = useState(false);
  useEffect(() => {
    setMore([]);
    setProblem(undefined);
  }, [prefix, first.data]);
  const pages = first.data === undefined ? [] : [first.data, ...more];
  const entries = pages.flatMap((page) => page.entries);
  const next = pages.at(-1)?.next ?? null;
  const loadMore = async () => {
    setLoading(true);
    try {
      const page = await read<KeyPage>("keys", { prefix, from: next ?? undefined });
      setMore([...more, page]);
      setProblem(undefined);
    } catch (reason) {
      setProblem(reason instanceof ApiError ? reason.message : String(reason));
    }
    setLoading(false);
  };
  return (
    <>
      <Title text={text === "" ? "Keys" : `Keys below ${text}`} />
      <Find prefix={text} />
      <Path bytes={bytes} />
      {first.error !== undefined && <Failure error={first.error} retry={first.reload} />}
      {prefix === "" && <Readable />}
      {first.data === undefined && first.error === undefined && <p class="soft">Loading …</p>}
      {first.data !== undefined && (
        <section class="panel" aria-label="Keys">
          <p class="soft" aria-live="polite">
            {plural(first.data.keys, "key")} at revision {count(first.data.revision)}
            {next === null ? "" : `, the first ${count(entries.length)} entries are shown`}
          </p>
          {entries.length === 0 ? (
            <p>There are no keys here.</p>
          ) : (
            <Table caption="Keys and prefixes" head={["Name", "#Keys"]}>
              {entries.map((entry) => (
                <Row
                  key={entry.kind + (entry.kind === "key" ? entry.key : entry.prefix)}
                  entry={entry}
                  below={bytes.length}
                />
              ))}
            </Table>
          )}
          {problem !== undefined && <Failure error={problem} />}
          {next !== null &&
            (entries.length < MAX_ENTRIES ? (
              <button type="button" onClick={loadMore} disabled={isLoading}>
                {isLoading ? "Loading …" : "Show more"}
              </button>
            ) : (
              <p>More keys follow. A longer prefix shows them.</p>
            ))}
        </section>
      )}
    </>
  );
}

function Row({ entry, below }: { entry: KeyEntry; below: number }): VNode {
  const isKey = entry.kind === "key";
  const bytes = decode(isKey ? entry.key : entry.prefix);
  const rest = keyText(bytes.subarray(below));
  return (
    <tr>
      <td class="key-cell">
        <a href={linkTo(isKey ? "key" : "keys", encode(bytes))}>
          {rest === "" ? "(the prefix itself)" : rest}
        </a>
      </td>
      <Cell>{isKey ? <span class="soft">key</span> : count(entry.keys)}</Cell>
    </tr>
  );
}

/** Goes to a key or prefix that is typed. */
function Find({ prefix }: { prefix: string }): VNode {
  const [text, setText] = useState(prefix);
  useEffect(() => setText(prefix), [prefix]);
  return (
    <search>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          const isKey = (event.submitter as HTMLButtonElement | null)?.value === "key";
          location.hash = linkTo(isKey ? "key" : "keys", encode(parseKey(text)));
        }}
      >
        <label>
          Prefix or key (\xNN for a byte that is not text)
          <input
            class="mono"
            name="key"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            autocomplete="off"
            spellcheck={false}
          />
        </label>
        <button type="submit" value="prefix" class="main">
          Show prefix
        </button>
        <button type="submit" value="key" disabled={text === ""}>
          Show key
        </button>
      </form>
    </search>
  );
}

/** The prefixes of a prefix or key, as links. */
export function Path({ bytes }: { bytes: Uint8Array }): VNode {
  const ends: number[] = [];
  bytes.forEach((byte, i) => {
    if (byte === SLASH) ends.push(i + 1);
  });
  if (bytes.length > 0 && ends.at(-1) !== bytes.length) ends.push(bytes.length);
  return (
    <nav aria-label="Prefixes">
      <ol class="path">
        <li>
          <a href={linkTo("keys")}>all keys</a>&nbsp;
        </li>
        {ends.slice(-64).map((end, i, shown) => {
          const begin = shown[i - 1] ?? ends[ends.length - shown.length - 1] ?? 0;
          const name = keyText(bytes.subarray(begin, end));
          return (
            <li key={end}>
              {end === bytes.length ? (
                <span aria-current="location">{name}</span>
              ) : (
                <a href={linkTo("keys", encode(bytes.subarray(0, end)))}>{name}</a>
              )}
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

/** Where a user with few permissions can begin. */
function Readable(): VNode | null {
  const { data } = useReport<readonly ReadableRange[] | null>("readable", "", () => ({}));
  const ranges = (data ?? []).filter(({ prefix }) => prefix !== "");
  if (ranges.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="readable">
      <h2 id="readable">What you may read</h2>
      <ul>
        {ranges.map((range) => (
          <li key={`${range.key} ${range.rangeEnd}`} class="mono">
            <RangeLink range={range} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function RangeLink({ range }: { range: ReadableRange }): VNode {
  if (range.prefix !== null)
    return <a href={linkTo("keys", range.prefix)}>{keyText(decode(range.prefix))}</a>;
  if (range.rangeEnd === "") return <a href={linkTo("key", range.key)}>{keyText(decode(range.key))}</a>;
  return <span>{rangeText(range.key, range.rangeEnd)}</span>;
}

/** A range of etcd in words; both ends are in base64url. */
export function rangeText(key: string, rangeEnd: string): string {
  const [from, to] = [decode(key), decode(rangeEnd)];
  const name = keyText(from);
  if (to.length === 0) return name;
  if (to.length === 1 && to[0] === 0)
    return from.length <= 1 && (from[0] ?? 0) <= 1 ? "all keys" : `${name} and all behind it`;
  return encode(prefixEnd(from)) === rangeEnd ? `${name}*` : `${name} to ${keyText(to)}`;
}
