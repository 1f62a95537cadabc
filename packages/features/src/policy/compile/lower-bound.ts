/** Of an ascending list: where the first that is not below stands. */
export function lowerBound<T extends number | string>(list: readonly T[], value: T): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const here = list[middle];
    if (here !== undefined && here < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
