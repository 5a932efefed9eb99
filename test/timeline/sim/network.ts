import { Code, StatusError } from "../../../src/status/error.js";
import { AppendEncoder, decodeAppended } from "../../../src/timeline/append.js";
import type {
  Appended,
  Committed,
  HostChange,
  HostWatchEvents,
  LogHost,
} from "../../../src/timeline/host.js";
import { TxnRequest, TxnResponse } from "../../../src/wire/messages.js";
import type { SimEtcd, SimPut } from "./etcd.js";
import type { Random, Scheduler } from "./scheduler.js";

export interface Faults {
  /** Probability that a request or its response is lost. */
  loss: number;
  /** Probability that a lost request arrives after all, when its caller has given up. */
  late?: number;
  /** Probability, at each message of a watch, that its connection breaks. */
  cut: number;
  /** Extra delay of a watch's messages, up to this many milliseconds: a proxy on a member that is behind. */
  lag: number;
}

/** One proxy's connections: delays, lost messages, and silence once the proxy has died. */
export class Network {
  alive = true;

  constructor(
    private readonly scheduler: Pick<Scheduler, "now" | "after">,
    private readonly random: Random,
    private readonly faults: Faults,
  ) {}

  /** Runs `work` at the etcd after a delay. The response arrives after another delay, or never. */
  call<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const timeout = () => {
        if (this.alive) reject(new StatusError(Code.UNAVAILABLE, "simulated: connection lost"));
      };
      if (this.random.chance(this.faults.loss)) {
        this.scheduler.after(20 + this.random.below(50), timeout);
        const { late } = this.faults;
        if (late !== undefined && this.random.chance(late))
          this.scheduler.after(20 + this.random.below(300), () => void work());
        return;
      }
      this.scheduler.after(this.delay(), () => {
        const result = work();
        if (this.random.chance(this.faults.loss)) {
          this.scheduler.after(20 + this.random.below(50), timeout);
          return;
        }
        this.scheduler.after(this.delay(), () => {
          if (this.alive) resolve(result);
        });
      });
    });
  }

  /** A watch: messages arrive in order, each with its own delay. */
  watch(etcd: SimEtcd, from: number, prefix: string, events: HostWatchEvents): () => void {
    let open = true;
    let arrival = 0;
    let unlisten = () => {};
    const deliver = (action: () => void) => {
      const lag = this.faults.lag > 0 ? this.random.below(this.faults.lag) : 0;
      arrival = Math.max(arrival, this.scheduler.now + this.delay() + lag);
      this.scheduler.after(arrival - this.scheduler.now, () => {
        if (open && this.alive) action();
      });
    };
    const close = (compacted: boolean) => {
      unlisten();
      deliver(() => {
        open = false;
        events.closed(new Error("simulated: watch closed"), compacted);
      });
    };
    const send = (all: readonly HostChange[]) => {
      const changes = all.map((change) => ({
        revision: change.revision,
        puts: change.puts.filter(({ key }) => key.startsWith(prefix)),
        deletes: change.deletes.filter((key) => key.startsWith(prefix)),
      }));
      const visible = changes.filter(({ puts, deletes }) => puts.length + deletes.length > 0);
      if (visible.length === 0) return;
      if (this.random.chance(this.faults.cut)) close(false);
      else deliver(() => events.changes(visible));
    };
    this.scheduler.after(this.delay(), () => {
      if (!open) return;
      if (from < etcd.compacted) {
        close(true);
        return;
      }
      unlisten = etcd.listen((change) => {
        if (change.revision >= from) send([change]);
      });
      send(etcd.changesFrom(from));
    });
    return () => {
      open = false;
      unlisten();
    };
  }

  /** Mostly short, sometimes long, so that messages of different connections are reordered. */
  private delay(): number {
    return this.random.chance(0.1) ? this.random.below(60) : this.random.below(6);
  }
}

/** `append` for a host that has `commit`. */
export function appendByCommit(
  host: Pick<LogHost, "commit">,
  guard: number,
  key: string,
  entry: string,
  done: Appended,
): void {
  const tail = { key: `${PREFIX}tail`, value: Buffer.alloc(0) };
  host.commit(guard, [{ key, value: Buffer.from(entry) }, tail], []).then(
    (result) => done(undefined, result),
    (reason) => done(StatusError.from(reason), NOTHING),
  );
}

/** `carry` as a real etcd's. */
export const carry: LogHost["carry"] = (guard, key, entry) => ({
  fields: new AppendEncoder().encode(guard, key, entry),
  settle: (response) => (response === undefined ? NOTHING : decodeAppended(response)),
});

/** Puts a key in a transaction that carries an entry: the encoded fields of a TxnRequest. Returns the TxnResponse. */
export function putCarrying(etcd: SimEtcd, put: SimPut, fields: Uint8Array): Uint8Array {
  const { compare, success } = TxnRequest.decode(fields);
  const succeeded = compare.every(
    ({ key, modRevision }) => (etcd.get(latin1(key))?.modRevision ?? 0) === modRevision,
  );
  const puts = success.flatMap((op) =>
    op.kind === "put" ? { key: latin1(op.request.key), value: op.request.value } : [],
  );
  const previous = etcd.get(`${PREFIX}tail`)?.modRevision ?? 0;
  if (succeeded) etcd.put([put, ...puts]);
  const responses = [0, 0, previous].map((modRevision) => ({
    kind: "put" as const,
    response: modRevision > 0 ? { prevKv: { modRevision } } : {},
  }));
  const header = { revision: etcd.revision, raftTerm: 1 };
  return TxnResponse.encode({ header, succeeded, responses: succeeded ? responses : [] });
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const NOTHING: Committed = { committed: false, revision: 0, previous: 0, raftTerm: 0 };
const PREFIX = "\0braid/";

/** The timeline host as a proxy reaches it. `guarded: false` is a mutation: transactions without their compare. */
export function simHost(network: Network, etcd: SimEtcd, guarded = true): LogHost {
  const host: LogHost = {
    label: "it",
    isConnected: true,
    load: () => network.call(() => ({ revision: etcd.revision, raftTerm: 1, keys: etcd.list(PREFIX) })),
    tail: () =>
      network.call(() => ({
        end: etcd.get(`${PREFIX}tail`)?.modRevision ?? 0,
        revision: etcd.revision,
        raftTerm: 1,
      })),
    commit: (guard, puts, deletes, unchanged) =>
      network.call(() => {
        const base = etcd.get(`${PREFIX}base`)?.modRevision ?? 0;
        const previous = etcd.get(`${PREFIX}tail`)?.modRevision ?? 0;
        const isChanged =
          unchanged !== undefined && etcd.get(unchanged.key)?.modRevision !== unchanged.modRevision;
        if ((base !== guard || isChanged) && guarded) {
          return { committed: false, revision: etcd.revision, previous, raftTerm: 1 };
        }
        const doomed = deletes.flatMap(({ key, end }) => {
          const from = Buffer.from(key).toString("latin1");
          const to = Buffer.from(end).toString("latin1");
          if (to === "") return [from];
          return etcd
            .list(PREFIX)
            .flatMap((stored) => (stored.key >= from && stored.key < to ? stored.key : []));
        });
        return { committed: true, revision: etcd.put(puts, doomed), previous, raftTerm: 1 };
      }),
    append: (guard, key, entry, done) => appendByCommit(host, guard, key, entry, done),
    carry,
    watch: (revision, events) => network.watch(etcd, revision, PREFIX, events),
  };
  return host;
}
