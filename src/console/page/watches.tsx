import type { VNode } from "preact";
import type { WatchClientReport, WatchesReport } from "../report.js";
import { bytes, count, plural, span } from "./format.js";
import { useReport } from "./hooks.js";
import { rangeText } from "./keys.js";
import { Badge, Cell, Stale, Table, Title, Waiting } from "./parts.js";

const LOOK_MS = 3_000;

export function WatchesView(): VNode {
  const { data, error } = useReport<WatchesReport>("watches", "", () => ({}), LOOK_MS);
  return (
    <>
      <Title text="Watches" />
      {data === undefined ? (
        <Waiting error={error} />
      ) : (
        <>
          <Stale error={error} />
          <section class="panel" aria-label="Watches by client">
            <p>
              {plural(data.watches, "watch").replace("watchs", "watches")} of {plural(data.streams, "stream")}
              , {plural(data.slow, "slow client")}, {bytes(data.queuedBytes)} not read yet
            </p>
            {data.workers > 1 && (
              <p class="notice">
                These are the clients of the first of {count(data.workers)} worker processes.
              </p>
            )}
            {data.clients.length < data.streams && (
              <p class="soft">The {count(data.clients.length)} slowest and largest streams are shown.</p>
            )}
            {data.clients.length > 0 && (
              <Table
                caption="Watches by client"
                head={[
                  "Client",
                  "User",
                  "State",
                  "#Watches",
                  "#Lag",
                  "#Queued",
                  "#Events",
                  "#Open for",
                  "Ranges",
                ]}
              >
                {data.clients.map((each, i) => (
                  // A stream has no name of its own.
                  <Row key={`${each.client} ${each.since} ${i}`} client={each} />
                ))}
              </Table>
            )}
          </section>
        </>
      )}
    </>
  );
}

function Row({ client }: { client: WatchClientReport }): VNode {
  const { shown, watches, lag, isSlow } = client;
  return (
    <tr>
      <td class="mono">{client.client ?? "–"}</td>
      <td>{client.user ?? "–"}</td>
      <td>
        {isSlow ? (
          <Badge kind="bad">slow</Badge>
        ) : lag > 0 ? (
          <Badge kind="warn">behind</Badge>
        ) : (
          <Badge kind="good">up to date</Badge>
        )}
      </td>
      <Cell>{count(watches)}</Cell>
      <Cell>{count(lag)}</Cell>
      <Cell>{bytes(client.queuedBytes)}</Cell>
      <Cell>{count(client.eventsSent)}</Cell>
      <Cell>{span((Date.now() - client.since) / 1_000)}</Cell>
      <td class="key-cell">
        {shown.length === 1 && watches === 1 ? (
          rangeText(shown[0]!.key, shown[0]!.rangeEnd)
        ) : (
          <details>
            <summary>
              {shown.length < watches ? `${count(shown.length)} of ${count(watches)}` : count(watches)}
            </summary>
            {shown.map((watch) => (
              <div key={watch.id}>
                {rangeText(watch.key, watch.rangeEnd)}
                {watch.lag > 0 && (
                  <span class="soft">
                    {" "}
                    ({plural(watch.lag, "revision")} behind, {watch.state})
                  </span>
                )}
              </div>
            ))}
          </details>
        )}
      </td>
    </tr>
  );
}
