import type { Sender } from "./sender.js";

/**
 * How long the answer to a ping may wait, ms. Every gRPC server and client written in Go pings whenever it gets data,
 * to learn the bandwidth, but never has two such pings under way: answered at once, each request would cost a write and
 * a read more. Nobody waits for the answer; timeouts of pings are seconds.
 */
const DELAY = 20;
/** A peer that sends so many pings meanwhile gets its answers at once. */
const MOST = 4;

/** Connections that owe answers, in the order in which these are due. */
let owing: PingAnswers[] = [];

function answerAll(): void {
  const due = owing;
  owing = [];
  for (const answers of due) answers.send();
}

/** The answers to a peer's pings, which wait a little for each other. */
export class PingAnswers {
  private marks: number[] = [];

  constructor(private readonly sender: Sender) {}

  /** Owes the answer to a ping with these eight bytes. */
  add(mark: number, rest: number): void {
    if (this.marks.length === 0) {
      if (owing.push(this) === 1) setTimeout(answerAll, DELAY);
    }
    this.marks.push(mark, rest);
    if (this.marks.length >= 2 * MOST) this.send();
  }

  /** Sends what is owed now. */
  send(): void {
    const { marks } = this;
    if (marks.length === 0) return;
    this.marks = [];
    for (let i = 0; i < marks.length; i += 2) this.sender.ping(marks[i], marks[i + 1], true);
  }

  /** The connection has ended: nothing is owed any more. */
  stop(): void {
    this.marks = [];
  }
}
