/* What softmax and its relatives do to rows of n elements beside exponentials and logarithms, which are numpy's; see
   softmax.py. Compiled for a type T, after lanes.c. */

typedef I mask __attribute__((vector_size(64)));

/* The largest element, NaN where there is one; a zero is not negative. */
static T largest_of(const T *x, long n) {
  vector most[VECTORS];
  EACH most[q] = (vector){0} - (T)INFINITY;
  long i = 0;
  for (; i + LANES <= n; i += LANES) EACH {
    const vector seen = LOAD(x + i + q * WIDE);
    const mask larger = (mask)(seen > most[q]) | (mask)(seen != seen);
    most[q] = (vector)(((mask)seen & larger) | ((mask)most[q] & ~larger));
  }
  T m = -(T)INFINITY;
  for (int k = 0; k < LANES; k++) {
    const T seen = ((T *)most)[k];
    m = seen > m || seen != seen ? seen : m;
  }
  for (; i < n; i++) m = x[i] > m || x[i] != x[i] ? x[i] : m;
  return m + 0;
}

/* y: x less the largest element of the row, which is kept in `largest`. */
void shift(long rows, long n, T *restrict y, T *restrict largest, const T *restrict x) {
  for (long row = 0; row < rows; row++) {
    const T m = largest[row] = largest_of(x + row * n, n);
    for (long i = row * n; i < (row + 1) * n; i++) y[i] = x[i] - m;
  }
}

void sums(long rows, long n, T *restrict to, const T *restrict x) {
  for (long row = 0; row < rows; row++) to[row] = sum_of(x + row * n, n);
}

/* x becomes x by its sum, which is kept. */
void divide_by_sums(long rows, long n, T *restrict x, T *restrict to) {
  for (long row = 0; row < rows; row++) {
    to[row] = sum_of(x + row * n, n);
    const T factor = 1 / to[row];
    for (long i = row * n; i < (row + 1) * n; i++) x[i] *= factor;
  }
}

/* The sums of the products of labels and `level` - scores; where that is not finite, labels of 0 ask for nothing. */
void cross_entropies(long rows, long n, T *restrict loss, const T *restrict level,
                     const T *restrict scores, const T *restrict labels) {
  for (long row = 0; row < rows; row++) {
    const T *s = scores + row * n, *w = labels + row * n, above = level[row];
    vector lanes[VECTORS] = {0};
    long i = 0;
    for (; i + LANES <= n; i += LANES) EACH lanes[q] += LOAD(w + i + q * WIDE) * (above - LOAD(s + i + q * WIDE));
    for (int k = 0; i + k < n; k++) ((T *)lanes)[k] += w[i + k] * (above - s[i + k]);
    loss[row] = total(lanes);
    if (isfinite(loss[row])) continue;
    T *lane = (T *)lanes;
    for (int k = 0; k < LANES; k++) lane[k] = 0;
    for (i = 0; i < n; i++) lane[i % LANES] += w[i] == 0 ? 0 : w[i] * (above - s[i]);
    loss[row] = total(lanes);
  }
}
