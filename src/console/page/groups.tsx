import type { VNode } from "preact";
import { useState } from "preact/hooks";
import type { GroupReport, GroupsReport } from "../report.js";
import { decode, keyText } from "./bytes.js";
import { bytes, count, rate, span } from "./format.js";
import { useReport } from "./hooks.js";
import { Cell, Stale, Table, Title, Waiting } from "./parts.js";
import { linkTo } from "./route.js";

const LOOK_MS = 5_000;

export function GroupsView(): VNode {
  const { data, error } = useReport<GroupsReport>("groups", "", () => ({}), LOOK_MS);
  return (
    <>
      <Title text="Groups" />
      {data === undefined ? (
        <Waiting error={error} />
      ) : (
        <>
          <Stale error={error} />
          {data.groups !== null && <Groups groups={data.groups} report={data} />}
          <div class="columns">
            <section class="panel" aria-labelledby="rules">
              <h2 id="rules">Rules in force</h2>
              <p class="soft">The rule with the longest prefix of a key decides which keys stay together.</p>
              <Table caption="Rules in force" head={["Prefix", "Group", "Shard"]}>
                {data.rules.map(({ prefix, text, shard }) => (
                  <tr key={prefix}>
                    <td class="key-cell">{prefix === "" ? "every other key" : prefix}</td>
                    <td>{text.slice(text.lastIndexOf(": ") + 2)}</td>
                    <td>{shard ?? "by hash"}</td>
                  </tr>
                ))}
              </Table>
            </section>
            <section class="panel" aria-labelledby="weights">
              <h2 id="weights">Shards</h2>
              <Table caption="Shards" head={["Shard", "#Weight", "#Keys", "#Bytes"]}>
                {data.shards.map(({ name, weight, keys, bytes: size }) => (
                  <tr key={name}>
                    <td>{name}</td>
                    <Cell>{weight}</Cell>
                    <Cell>{count(keys)}</Cell>
                    <Cell>{bytes(size)}</Cell>
                  </tr>
                ))}
              </Table>
              <p class="soft">The page of a key shows its group, and why it is on its shard.</p>
            </section>
          </div>
        </>
      )}
    </>
  );
}

const ORDERS = {
  "by keys": "keys",
  "by bytes": "bytes",
  "by requests": "requestsPerSecond",
  "by watches": "watches",
} as const;
type Order = keyof typeof ORDERS;

function Groups({ groups, report }: { groups: readonly GroupReport[]; report: GroupsReport }): VNode {
  const { countedAt, workers } = report;
  const [order, setOrder] = useState<Order>("by keys");
  const field = ORDERS[order];
  const sorted = [...groups].sort((a, b) => (b[field] ?? 0) - (a[field] ?? 0));
  return (
    <section class="panel" aria-labelledby="groups">
      <h2 id="groups">Largest and busiest groups</h2>
      <fieldset class="choices">
        <legend class="hidden">Order</legend>
        {(Object.keys(ORDERS) as Order[]).map((each) => (
          <button
            key={each}
            type="button"
            class="plain"
            aria-pressed={each === order}
            onClick={() => setOrder(each)}
          >
            {each}
          </button>
        ))}
      </fieldset>
      <p class="soft">
        {countedAt === null
          ? "The keys are being counted for the first time. "
          : `Keys and bytes as counted ${span((Date.now() - countedAt) / 1_000)} ago. `}
        Requests and watches are those of{" "}
        {workers > 1 ? `one of this proxy's ${workers} workers` : "this proxy"}.
      </p>
      <Table
        caption="Groups"
        head={["Group", "Shard", "Tenant", "#Keys", "#Bytes", "#Requests/s", "#Watches"]}
      >
        {sorted.map((each) => (
          <tr key={each.group}>
            <td class="key-cell">
              <a href={linkTo("keys", each.group)}>{keyText(decode(each.group))}</a>
            </td>
            <td>{each.shard}</td>
            <td>{each.tenant ?? "–"}</td>
            <Cell>{count(each.keys)}</Cell>
            <Cell>{bytes(each.bytes)}</Cell>
            <Cell>{rate(each.requestsPerSecond)}</Cell>
            <Cell>{count(each.watches)}</Cell>
          </tr>
        ))}
      </Table>
    </section>
  );
}
