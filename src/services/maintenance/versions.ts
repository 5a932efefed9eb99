/** The lower of two versions such as "3.4.23", compared by major, minor and patch number. */
export function lowest(a: string, b: string): string {
  const left = a.split(/[.+-]/).map(Number);
  const right = b.split(/[.+-]/).map(Number);
  for (let i = 0; i < 3; i++) {
    if (left[i] !== right[i]) return (left[i] ?? 0) < (right[i] ?? 0) ? a : b;
  }
  return a;
}
