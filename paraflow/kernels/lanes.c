/* Sums in the order of `row_sums` in paraflow/ops/reduce.py: LANES sums, element by element, then by halves. */

#include <math.h>

enum { LANES = 64, WIDE = 64 / sizeof(T), VECTORS = LANES / WIDE };
typedef T vector __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));
#define LOAD(at) (*(const vector *)(at))
#define EACH _Pragma("GCC unroll 8") for (int q = 0; q < VECTORS; q++)

static T total(vector *lanes) {
  T *sums = (T *)lanes;
  for (int width = LANES / 2; width; width /= 2)
    for (int i = 0; i < width; i++) sums[i] += sums[i + width];
  return sums[0];
}

static T sum_of(const T *x, long n) {
  vector lanes[VECTORS] = {0};
  long i = 0;
  for (; i + LANES <= n; i += LANES) EACH lanes[q] += LOAD(x + i + q * WIDE);
  for (int k = 0; i + k < n; k++) ((T *)lanes)[k] += x[i + k];
  return total(lanes);
}

