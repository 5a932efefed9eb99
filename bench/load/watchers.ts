import { WatchRequest } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { Connection } from "./connection.js";
import { EventReader } from "./events.js";
import { grpcMessage } from "./unary.js";

const ALL_KEYS = grpcMessage(
  WatchRequest.encode({ kind: "create", request: { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) } }),
);

/** Watchers of all keys, on one connection. */
export class Watchers {
  /** Events that all of them have received. */
  events = 0;
  private connection: Connection | undefined;

  /** Opens them. Resolves when the server has created all. Calls `onError` if one is lost later. */
  async open(port: number, count: number, onError: (error: Error) => void): Promise<void> {
    let created = 0;
    await new Promise<void>((resolve, reject) => {
      let fail = reject;
      const failed = (reason: string) => fail(new Error(reason));
      Connection.open(port, Watch.Watch, (error) => fail(error)).then((connection) => {
        this.connection = connection;
        for (let i = 0; i < count; i++) {
          const reader = new EventReader({
            created: () => {
              if (++created < count) return;
              fail = onError;
              resolve();
            },
            event: () => {
              this.events++;
            },
            failed,
          });
          const stream = connection.start({
            data: (chunk) => reader.take(chunk),
            end: () => failed("the server has ended a watch stream"),
          });
          connection.send(stream, ALL_KEYS, false);
        }
      }, reject);
    });
  }

  close(): void {
    this.connection?.close();
  }
}
