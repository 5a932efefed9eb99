/** An attempt has ended early: another mover has taken over, or something changed in between. A later try may succeed. */
export class GivenUp extends Error {
  override readonly name = "GivenUp";
}
