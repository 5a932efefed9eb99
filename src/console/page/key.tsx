import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { KeyReport, PlaceReport, VersionReport, VersionsReport } from "../report.js";
import { ApiError, read } from "./api.js";
import { decode, hexDump, keyText, prettyJson, utf8, valueText } from "./bytes.js";
import { bytes, count, span } from "./format.js";
import { useReport } from "./hooks.js";
import { Path } from "./keys.js";
import { Failure, Title } from "./parts.js";
import { linkTo } from "./route.js";

/** Bytes of a value that are shown as a hexadecimal dump. */
const HEX_BYTES = 16 * 1_024;

/** One key: its value, revisions, lease, place and past. */
export function KeyView({ keyName }: { keyName: string }): VNode {
  const name = decode(keyName);
  const [isWhole, setWhole] = useState(false);
  useEffect(() => setWhole(false), [keyName]);
  const { data, error, reload } = useReport<KeyReport>("key", `${keyName} ${isWhole}`, () => ({
    key: keyName,
    whole: isWhole ? 1 : undefined,
  }));
  return (
    <>
      <Title text={`Key ${keyText(name)}`}>
        Key <span class="mono">{keyText(name)}</span>
      </Title>
      <Path bytes={name} />
      {error !== undefined && <Failure error={error} retry={reload} />}
      {data === undefined && error === undefined && <p class="soft">Loading …</p>}
      {data !== undefined && (
        <>
          {data.current === null ? (
            <p class="notice">This key does not exist at revision {count(data.revision)}.</p>
          ) : (
            <section class="panel" aria-labelledby="value">
              <h2 id="value">Value</h2>
              <Value version={data.current} showAll={() => setWhole(true)} />
            </section>
          )}
          <div class="columns">
            {data.current !== null && <Facts report={data} version={data.current} reload={reload} />}
            <Place place={data.place} />
          </div>
          <Past keyName={keyName} before={data.current?.modRevision ?? data.revision + 1} />
        </>
      )}
    </>
  );
}

function Facts({
  report,
  version,
  reload,
}: {
  report: KeyReport;
  version: VersionReport;
  reload: () => void;
}): VNode {
  const { lease } = report;
  return (
    <section class="panel" aria-labelledby="facts">
      <h2 id="facts">Revisions</h2>
      <dl>
        <dt>Modified</dt>
        <dd>{count(version.modRevision)}</dd>
        <dt>Created</dt>
        <dd>{count(version.createRevision)}</dd>
        <dt>Version</dt>
        <dd>{count(version.version)}</dd>
        <dt>Size</dt>
        <dd>{bytes(version.size)}</dd>
        <dt>Read at</dt>
        <dd>
          {count(report.revision)}{" "}
          <button type="button" class="plain" onClick={reload}>
            Read again
          </button>
        </dd>
        {lease !== null && (
          <>
            <dt>Lease</dt>
            <dd class="mono">{BigInt(lease.id).toString(16)}</dd>
            <dt>Time left</dt>
            <dd>
              {lease.ttl < 0 ? "ended, or not known" : `${span(lease.ttl)} of ${span(lease.grantedTtl)}`}
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

function Place({ place }: { place: PlaceReport }): VNode {
  return (
    <section class="panel" aria-labelledby="place">
      <h2 id="place">Where, and why</h2>
      <dl>
        <dt>Shard</dt>
        <dd>{place.shard}</dd>
        <dt>Group</dt>
        <dd class="mono">
          <a href={linkTo("keys", place.group)}>{keyText(decode(place.group))}</a>
        </dd>
        <dt>Rule</dt>
        <dd>{place.rule}</dd>
        {!place.isPinned && (
          <>
            <dt>Hash of the group</dt>
            <dd class="mono">{place.hash}</dd>
          </>
        )}
        {place.move !== null && (
          <>
            <dt>Plan</dt>
            <dd>
              {place.move.isDone ? "has moved it" : "will move it"} from {place.move.from} to {place.move.to}
              {place.move.waits ? "; calls wait for the move now" : ""}
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

const FORMS = ["Text", "JSON", "Hex"] as const;
type Form = (typeof FORMS)[number];

function Value({ version, showAll }: { version: VersionReport; showAll?: () => void }): VNode {
  const raw = decode(version.value);
  const text = version.isWhole ? utf8(raw) : utf8Start(raw);
  const json = text === undefined || !version.isWhole ? undefined : prettyJson(text);
  const [chosen, choose] = useState<Form>();
  const form =
    chosen ??
    (text === undefined ? "Hex" : json !== undefined && /^\s*[[{]/.test(text ?? "") ? "JSON" : "Text");
  const missing = { Text: text === undefined, JSON: json === undefined, Hex: false };
  return (
    <>
      <fieldset class="choices">
        <legend class="hidden">Form of the value</legend>
        {FORMS.map((each) => (
          <button
            key={each}
            type="button"
            class="plain"
            aria-pressed={each === form}
            disabled={missing[each]}
            onClick={() => choose(each)}
          >
            {each}
          </button>
        ))}
      </fieldset>
      {version.size === 0 ? (
        <p class="soft">The value is empty.</p>
      ) : (
        <pre class={form === "Hex" ? "value hex" : "value"}>
          {form === "Hex"
            ? hexDump(raw.subarray(0, HEX_BYTES))
            : valueText((form === "JSON" ? json : text) ?? "")}
        </pre>
      )}
      {form === "Hex" && raw.length > HEX_BYTES && (
        <p class="soft">The first {bytes(HEX_BYTES)} are shown.</p>
      )}
      {!version.isWhole && (
        <p class="soft">
          The first {bytes(raw.length)} of {bytes(version.size)}.{" "}
          {showAll && (
            <button type="button" class="plain" onClick={showAll}>
              Show all
            </button>
          )}
        </p>
      )}
    </>
  );
}

/** Text whose last character may be cut. */
function utf8Start(raw: Uint8Array): string | undefined {
  for (let cut = 0; cut < 4; cut++) {
    const text = utf8(raw.subarray(0, raw.length - cut));
    if (text !== undefined) return text;
  }
  return undefined;
}

const ENDS = {
  created: "The key was created then. An earlier life of it cannot be found.",
  compacted: "Older revisions are compacted.",
} as const;

/** Past versions, read on demand. */
function Past({ keyName, before }: { keyName: string; before: number }): VNode {
  const [versions, setVersions] = useState<readonly VersionReport[]>([]);
  const [next, setNext] = useState<number | null>(before);
  const [end, setEnd] = useState<VersionsReport["end"]>(null);
  const [error, setError] = useState<string>();
  useEffect(() => {
    setVersions([]);
    setNext(before);
    setEnd(null);
    setError(undefined);
  }, [keyName, before]);
  const load = async () => {
    try {
      const report = await read<VersionsReport>("versions", { key: keyName, before: next ?? undefined });
      setVersions([...versions, ...report.versions]);
      setNext(report.next);
      setEnd(report.end);
      setError(undefined);
    } catch (reason) {
      setError(reason instanceof ApiError ? reason.message : String(reason));
    }
  };
  return (
    <section class="panel" aria-labelledby="past">
      <h2 id="past">Past versions</h2>
      {versions.map((version) => (
        <details key={version.modRevision}>
          <summary>
            Revision {count(version.modRevision)}, version {count(version.version)}, {bytes(version.size)}
          </summary>
          <Value version={version} />
        </details>
      ))}
      {error !== undefined && <Failure error={error} />}
      {next !== null && (
        <button type="button" onClick={load}>
          {versions.length === 0 ? "Show past versions" : "Show older versions"}
        </button>
      )}
      <p class="soft" aria-live="polite">
        {end === null
          ? ""
          : versions.length === 0 && end === "created"
            ? "There is no earlier version."
            : ENDS[end]}
      </p>
    </section>
  );
}
