/**
 * Returns -ln(u) for the draw k in [0, 2^52), where u = (2k + 1) / 2^53 is an exact double in (0, 1). It uses only
 * + - * / and constants, so every machine computes the same bits. The relative error is below 1e-15.
 *
 * ln(m) = 2 atanh((m - 1) / (m + 1)), with m scaled to [sqrt(1/2), sqrt(2)) and eleven terms of the series.
 */
export function negativeLog(drawn: number): number {
  let m = (2 * drawn + 1) / 2 ** 53;
  let halvings = 0;
  while (m < Math.SQRT1_2) {
    m *= 2;
    halvings++;
  }
  const s = (m - 1) / (m + 1);
  const square = s * s;
  let sum = 0;
  for (let odd = 21; odd >= 1; odd -= 2) sum = sum * square + 1 / odd;
  return halvings * Math.LN2 - 2 * s * sum;
}
