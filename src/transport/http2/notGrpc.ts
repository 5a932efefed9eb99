import type { ServerConnection } from "../../http2/server.js";
import { Stream } from "../../http2/stream.js";

const TEXT = Buffer.from("This is a gRPC server: requests are POSTs of content-type application/grpc.\n");

/** The response to a request that is not gRPC: an HTTP status and a line of text. */
export class NotGrpcStream extends Stream {
  constructor(
    connection: ServerConnection,
    id: number,
    private readonly status: number,
  ) {
    super(connection, id, 0);
  }

  onOpen(): void {
    this.stopListening();
    const fields = [
      { name: ":status", value: String(this.status) },
      { name: "content-type", value: "text/plain; charset=utf-8" },
    ];
    this.connection.sender.headers(this.id, fields, false);
    this.sendRaw(TEXT);
    this.endSending("data");
  }

  onLocalEnd(): void {}
  onAborted(): void {}
  protected onMessageBytes(): void {}
  protected onRemoteEnd(): void {}
  protected onBadMessage(): void {}
  protected onSent(): void {}
}
