/* Moments of rows of n elements and of columns, and layer normalisation and its gradients, row by row; see
   normalization.py. Compiled for a type T, after lanes.c. All sums run in the order of numpy's bodies in paraflow/ops:
   LANES sums in each row, then by halves, and sums over rows over ROWS of them at a time. */

#include <string.h>

enum { ROWS = 64 };

static T root(T x) { return sizeof(T) == 4 ? sqrtf(x) : sqrt(x); }

static void row_moments(const T *x, long n, T *mean, T *variance) {
  const T m = sum_of(x, n) / n;
  vector squares[VECTORS] = {0};
  long i = 0;
  for (; i + LANES <= n; i += LANES) EACH {
    const vector d = LOAD(x + i + q * WIDE) - m;
    squares[q] += d * d;
  }
  for (int k = 0; i + k < n; k++) ((T *)squares)[k] += (x[i + k] - m) * (x[i + k] - m);
  *mean = m;
  *variance = total(squares) / n;
}

/* The mean of a row, and by what to multiply the distances from it. */
static void statistics(const T *x, long n, T epsilon, T *mean, T *factor) {
  T variance;
  row_moments(x, n, mean, &variance);
  *factor = 1 / root(variance + epsilon);
}

void moments_of_rows(long rows, long n, T *mean, T *variance, const T *x) {
  for (long row = 0; row < rows; row++) row_moments(x + row * n, n, mean + row, variance + row);
}

/* The sum over rows of x, or of the squared distances from `center`, by the number of rows; `part` is memory for n. */
static void column_means(long rows, long n, T *restrict sums, T *restrict part, const T *restrict x,
                         const T *restrict center) {
  memset(sums, 0, n * sizeof(T));
  for (long first = 0; first < rows; first += ROWS) {
    memset(part, 0, n * sizeof(T));
    for (long row = first; row < rows && row < first + ROWS; row++) {
      const T *of = x + row * n;
      if (!center) for (long i = 0; i < n; i++) part[i] += of[i];
      else for (long i = 0; i < n; i++) part[i] += (of[i] - center[i]) * (of[i] - center[i]);
    }
    for (long i = 0; i < n; i++) sums[i] += part[i];
  }
  for (long i = 0; i < n; i++) sums[i] /= rows;
}

void moments_of_columns(long rows, long n, T *mean, T *variance, T *part, const T *x) {
  column_means(rows, n, mean, part, x, 0);
  column_means(rows, n, variance, part, x, mean);
}

void normalize(long rows, long n, double epsilon, T *restrict y, const T *restrict x, const T *restrict gamma,
               const T *restrict beta) {
  for (long row = 0; row < rows; row++, x += n, y += n) {
    T mean, s;
    statistics(x, n, epsilon, &mean, &s);
    for (long i = 0; i < n; i++) y[i] = (x[i] - mean) * s * gamma[i] + beta[i];
  }
}

/* The gradients of rows dy; those of the parameters, as long as rows, are added up in parts of n elements. */
void gradients(long rows, long n, double epsilon, T *restrict dx, T *restrict to_gamma, T *restrict to_beta,
               T *restrict part_gamma, T *restrict part_beta, const T *restrict dy, const T *restrict x,
               const T *restrict gamma) {
  memset(to_gamma, 0, n * sizeof(T));
  memset(to_beta, 0, n * sizeof(T));
  for (long row = 0; row < rows; row++, x += n, dy += n, dx += n) {
    if (row % ROWS == 0) {
      memset(part_gamma, 0, n * sizeof(T));
      memset(part_beta, 0, n * sizeof(T));
    }
    T m, s;
    statistics(x, n, epsilon, &m, &s);
    vector first[VECTORS] = {0}, second[VECTORS] = {0};
    long i = 0;
    for (; i + LANES <= n; i += LANES) EACH {
      const vector a = LOAD(dy + i + q * WIDE) * LOAD(gamma + i + q * WIDE);
      first[q] += a;
      second[q] += a * ((LOAD(x + i + q * WIDE) - m) * s);
    }
    for (int k = 0; i + k < n; k++) {
      const T a = dy[i + k] * gamma[i + k];
      ((T *)first)[k] += a;
      ((T *)second)[k] += a * ((x[i + k] - m) * s);
    }
    const T one = total(first) / n, two = total(second) / n;
    for (i = 0; i < n; i++) {
      const T z = (x[i] - m) * s;
      dx[i] = (dy[i] * gamma[i] - one - z * two) * s;
      part_gamma[i] += dy[i] * z;
      part_beta[i] += dy[i];
    }
    if (row % ROWS == ROWS - 1 || row == rows - 1)
      for (i = 0; i < n; i++) {
        to_gamma[i] += part_gamma[i];
        to_beta[i] += part_beta[i];
      }
  }
}
