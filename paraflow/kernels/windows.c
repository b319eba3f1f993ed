/* Windows that slide over images [n, d, h, w, channels]: sums of products, plain sums and maxima over what each of them
   sees, and their gradients; see windows.py. Compiled for a type T, an integer I of its size and one KIND of these.

   All sums run in the order of numpy's bodies in paraflow/ops, element by element, so the bits are the same: channels
   lie side by side in vectors, whose lanes never meet. A place on the last axis belongs to a run of places that see the
   same elements of the window, so that the innermost loop has a fixed number of addresses and, for sums of products,
   the filter in registers. What a window sees is taken in groups of at most GROUP elements. */

#include <math.h>
#include <string.h>

#define PRODUCTS 0
#define SUMS 1
#define MAXIMA 2
enum { GROUP = 9 };

/* As _plan in windows.py writes it. Sizes with "to" are of the result, those with "from" of what is read. `ds` and
   `hs` say for each place of the outer axes where each element of the window is, -1 outside; `runs` are, one after the
   other, {first, step, count, from step, elements, (element, where the first place sees it) ...}. */
struct plan {
  long to_d, to_h, to_w, from_d, from_h, from_w, window_d, window_h, window_w, run_count;
  const long *ds, *hs, *runs;
};
enum { FIRST, STEP, COUNT, FROM_STEP, ELEMENTS, PAIRS };

static struct plan read_plan(const long *p) {
  struct plan plan = {p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], 0, 0, 0};
  plan.ds = p + 10;
  plan.hs = plan.ds + plan.to_d * plan.window_d;
  plan.runs = plan.hs + plan.to_h * plan.window_h;
  return plan;
}

static const long *after(const long *run) { return run + PAIRS + 2 * run[ELEMENTS]; }

static long seen(const long *places, long count) {
  long found = 0;
  for (long i = 0; i < count; i++) found += places[i] >= 0;
  return found;
}

#define VECTOR(name, bytes, type) \
  typedef type name __attribute__((vector_size(bytes), aligned(sizeof(type)), may_alias));
VECTOR(v64, 64, T)
VECTOR(v32, 32, T)
VECTOR(v16, 16, T)
VECTOR(i64, 64, I)
VECTOR(i32, 32, I)
VECTOR(i16, 16, I)
typedef T v1;
typedef I i1;
enum { MOST = 64 / sizeof(T) };

#define LOAD(V, at) (*(const V *)(at))
#define UNROLLED _Pragma("GCC unroll 9")
#define INLINE static inline __attribute__((always_inline)) void

/* `call(suffix)` for e, which counts n channels, in vectors from the longest down. */
#define FOR_CHANNELS(call) do { \
  long e = 0; \
  for (; e + MOST <= n; e += MOST) call(64); \
  if (e + MOST / 2 <= n) { call(32); e += MOST / 2; } \
  if (e + MOST / 4 <= n) { call(16); e += MOST / 4; } \
  for (; e < n; e++) call(1); \
} while (0)

/* What is done to the places of a run with the elements that they see: x[k] is where the first place sees the k-th of
   them. Sums begin with `begin`, which is y where there were elements before, and end with a division. */
struct operands {
  T *y;
  const T *begin, *x[GROUP], *w[GROUP];
  long y_step, x_step, count;
  T divisor;
};

#define GROUP_OF(bits, SELECT) \
INLINE group##bits(const int t, const struct operands *o, long e) { \
  typedef v##bits V; \
  typedef i##bits Mask; \
  V f[GROUP]; \
  const T *x[GROUP]; \
  UNROLLED for (int k = 0; k < t; k++) { \
    x[k] = o->x[k] + e; \
    if (KIND == PRODUCTS) f[k] = LOAD(V, o->w[k] + e); \
  } \
  T *y = o->y + e; \
  const int more = o->begin == o->y; \
  const T *begin = more ? y : o->begin; \
  const long y_step = o->y_step, x_step = o->x_step, count = o->count, begin_step = more ? y_step : 0; \
  const T divisor = o->divisor; \
  for (long i = 0; i < count; i++) { \
    V s = LOAD(V, begin + i * begin_step); \
    UNROLLED for (int k = 0; k < t; k++) { \
      const V seen = LOAD(V, x[k] + i * x_step); \
      if (KIND == PRODUCTS) s += seen * f[k]; \
      if (KIND == SUMS) s += seen; \
      if (KIND == MAXIMA) { \
        const Mask larger = (Mask)((seen > s) | (seen != seen)); \
        s = SELECT(larger, seen, s); \
      } \
    } \
    if (KIND == SUMS && divisor != 1) s /= divisor; \
    if (KIND == MAXIMA) s += 0;  /* a zero is not negative */ \
    *(V *)(y + i * y_step) = s; \
  } \
}
#define BY_BITS(mask, a, b) ((V)(((Mask)(a) & (mask)) | ((Mask)(b) & ~(mask))))
#define BY_CHOICE(mask, a, b) ((mask) ? (a) : (b))
GROUP_OF(64, BY_BITS)
GROUP_OF(32, BY_BITS)
GROUP_OF(16, BY_BITS)
GROUP_OF(1, BY_CHOICE)

INLINE group_of(const int t, const struct operands *o, long n) {
#define CALL(bits) group##bits(t, o, e)
  FOR_CHANNELS(CALL);
#undef CALL
}

static void group(int t, const struct operands *o, long n) {
#define CASE(t) case t: group_of(t, o, n); break;
  switch (t) { CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) }
#undef CASE
}

/* A group at all places of a run. Where that has no strides, `lines` places lie side by side, which are as one with as
   many times the channels. */
static void group_in_run(int t, struct operands o, long n, long lines) {
  const int more = o.begin == o.y;
  if (lines > 1 && o.count > 1 && o.y_step == n && o.x_step == n) {
    const long whole = o.count / lines, rest = o.count % lines, length = n * lines;
    o.y_step = o.x_step = length;
    o.count = whole;
    if (whole) group(t, &o, length);
    o.y += whole * length;
    if (more) o.begin = o.y;
    for (int k = 0; k < t; k++) o.x[k] += whole * length;
    o.count = 1;
    n *= rest;
  }
  if (n) group(t, &o, n);
}

/* y [n, to..., channels] of x [n, from..., many, channels] and, for products, w [window..., many, lines * channels], in
   which the channels are repeated. With `divide` sums are divided by the number of elements that are seen. */
void windows(const long *numbers, long n, long channels, long many, long lines, long divide, T *y, const T *x,
             const T *w) {
  const struct plan p = read_plan(numbers);
  const long x_pixel = channels * many, x_row = p.from_w * x_pixel;
  T nothing[MOST];
  for (int i = 0; i < MOST; i++) nothing[i] = KIND == MAXIMA ? -(T)INFINITY : 0;
  for (long image = 0; image < n; image++, x += p.from_d * p.from_h * x_row)
  for (long d = 0; d < p.to_d; d++)
  for (long h = 0; h < p.to_h; h++, y += p.to_w * channels) {
    const long *ds = p.ds + d * p.window_d, *hs = p.hs + h * p.window_h, *run = p.runs;
    const long rows_seen = seen(ds, p.window_d) * seen(hs, p.window_h);
    for (long r = 0; r < p.run_count; r++, run = after(run)) {
      struct operands o = {.y = y + run[FIRST] * channels, .begin = nothing, .count = run[COUNT], .divisor = 1};
      o.y_step = run[STEP] * channels;
      o.x_step = run[FROM_STEP] * x_pixel;
      const long all = rows_seen * run[ELEMENTS] * many;
      long left = all;
      int t = 0;
      if (!all) {
        if (divide) o.divisor = 0;
        group_in_run(0, o, channels, lines);
      }
      for (long a = 0; a < p.window_d; a++)
      for (long b = 0; b < p.window_h; b++) {
        if (ds[a] < 0 || hs[b] < 0) continue;
        const T *row = x + (ds[a] * p.from_h + hs[b]) * x_row;
        const long first = (a * p.window_h + b) * p.window_w;
        for (const long *pair = run + PAIRS; pair < after(run); pair += 2)
        for (long j = 0; j < many; j++) {
          o.x[t] = row + pair[1] * x_pixel + j * channels;
          o.w[t++] = KIND == PRODUCTS ? w + ((first + pair[0]) * many + j) * lines * channels : 0;
          if (--left && t < GROUP) continue;
          if (!left && divide) o.divisor = all;
          group_in_run(t, o, channels, lines);
          o.begin = o.y;
          t = 0;
        }
      }
    }
  }
}

#if KIND == PRODUCTS
/* -- the gradient to the filter ------------------------------------------------------------------------------------ */

/* Adds to y[k] the sums over the places of a run of the products of x[k] and g. */
struct dots {
  T *y[GROUP];
  const T *x[GROUP], *g;
  long x_step, g_step, count;
};

#define DOTS_OF(bits) \
INLINE dots##bits(const int t, const struct dots *o, long e) { \
  typedef v##bits V; \
  V s[GROUP]; \
  const T *x[GROUP], *g = o->g + e; \
  UNROLLED for (int k = 0; k < t; k++) x[k] = o->x[k] + e, s[k] = LOAD(V, o->y[k] + e); \
  const long x_step = o->x_step, g_step = o->g_step, count = o->count; \
  for (long i = 0; i < count; i++) { \
    const V given = LOAD(V, g + i * g_step); \
    UNROLLED for (int k = 0; k < t; k++) s[k] += LOAD(V, x[k] + i * x_step) * given; \
  } \
  UNROLLED for (int k = 0; k < t; k++) *(V *)(o->y[k] + e) = s[k]; \
}
DOTS_OF(64)
DOTS_OF(32)
DOTS_OF(16)
DOTS_OF(1)

INLINE dots_of(const int t, const struct dots *o, long n) {
#define CALL(bits) dots##bits(t, o, e)
  FOR_CHANNELS(CALL);
#undef CALL
}

static void dots(int t, const struct dots *o, long n) {
#define CASE(t) case t: dots_of(t, o, n); break;
  switch (t) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) }
#undef CASE
}

/* dw [window..., channels] of x [n, from..., channels] and dy [n, to..., channels]: products are added along each line,
   these sums to that of the image, and that to those before it. `line` and `whole` are memory of the size of dw. */
void filter_gradient(const long *numbers, long n, long channels, T *dw, T *line, T *whole, const T *x,
                           const T *dy) {
  const struct plan p = read_plan(numbers);
  const long x_row = p.from_w * channels, size = p.window_d * p.window_h * p.window_w * channels;
  const long beside = p.window_w * channels;
  memset(dw, 0, size * sizeof(T));
  for (long image = 0; image < n; image++, x += p.from_d * p.from_h * x_row) {
    memset(whole, 0, size * sizeof(T));
    for (long d = 0; d < p.to_d; d++) for (long h = 0; h < p.to_h; h++, dy += p.to_w * channels) {
      const long *ds = p.ds + d * p.window_d, *hs = p.hs + h * p.window_h, *run = p.runs;
      memset(line, 0, size * sizeof(T));
      for (long r = 0; r < p.run_count; r++, run = after(run)) {
        struct dots o;
        o.g = dy + run[FIRST] * channels;
        o.g_step = run[STEP] * channels;
        o.x_step = run[FROM_STEP] * channels;
        o.count = run[COUNT];
        int t = 0;
        for (long a = 0; a < p.window_d; a++) for (long b = 0; b < p.window_h; b++) {
          if (ds[a] < 0 || hs[b] < 0) continue;
          for (const long *pair = run + PAIRS; pair < after(run); pair += 2) {
            o.x[t] = x + (ds[a] * p.from_h + hs[b]) * x_row + pair[1] * channels;
            o.y[t++] = line + (a * p.window_h + b) * beside + pair[0] * channels;
            if (t == GROUP) dots(t, &o, channels), t = 0;
          }
        }
        if (t) dots(t, &o, channels);
      }
      for (long e = 0; e < size; e++) whole[e] += line[e];
    }
    for (long e = 0; e < size; e++) dw[e] += whole[e];
  }
}

#elif KIND == MAXIMA
/* -- the gradient of maxima ---------------------------------------------------------------------------------------- */

/* Gives each dy to the first of the elements that are y, the largest; NaN is larger than all. With `apart` nobody else
   gives to these elements, else what is given is added. */
#define LARGEST_OF(bits, TRUTH, GIVEN) \
INLINE largest##bits(const int apart, long t, const long *offsets, T *dx, const T *x, const T *y, const T *dy, long e) { \
  typedef v##bits V; \
  typedef i##bits Mask; \
  const V largest = LOAD(V, y + e), given = LOAD(V, dy + e); \
  Mask open = {0}; \
  open = ~open; \
  for (long k = 0; k < t; k++) { \
    const V seen = LOAD(V, x + offsets[k] + e); \
    const Mask hit = open & TRUTH((seen == largest) | (seen != seen)); \
    V *place = (V *)(dx + offsets[k] + e); \
    if (apart) *place = GIVEN; \
    else *place += GIVEN; \
    open &= ~hit; \
  } \
}
#define AS_BITS(comparison) ((Mask)(comparison))
#define AS_NUMBER(comparison) (-(Mask)(comparison))
LARGEST_OF(64, AS_BITS, (V)((Mask)given & hit))
LARGEST_OF(32, AS_BITS, (V)((Mask)given & hit))
LARGEST_OF(16, AS_BITS, (V)((Mask)given & hit))
LARGEST_OF(1, AS_NUMBER, (hit ? given : 0))

INLINE largest(const int apart, long t, const long *offsets, T *dx, const T *x, const T *y, const T *dy, long n) {
#define CALL(bits) largest##bits(apart, t, offsets, dx, x, y, dy, e)
  FOR_CHANNELS(CALL);
#undef CALL
}

/* dx, of the shape of x [n, from..., channels], of the maxima y and of dy [n, to..., channels]. The last window comes
   first: so an element is given what numpy's body gives it in the order of the elements of the window. `offsets` is
   memory for as many numbers as a window has elements; `tiled`: each element of x is in just one window. */
void largest_gradient(const long *numbers, long n, long channels, long apart, long tiled, long *offsets, T *dx,
                            const T *x, const T *y, const T *dy) {
  const struct plan p = read_plan(numbers);
  const long x_row = p.from_w * channels, x_image = p.from_d * p.from_h * x_row, y_row = p.to_w * channels;
  for (long image = 0; image < n; image++, x += x_image, dx += x_image) {
    if (!tiled) memset(dx, 0, x_image * sizeof(T));
    for (long d = p.to_d - 1; d >= 0; d--) for (long h = p.to_h - 1; h >= 0; h--) {
      const long *ds = p.ds + d * p.window_d, *hs = p.hs + h * p.window_h;
      const long above = ((image * p.to_d + d) * p.to_h + h) * y_row;
      for (long r = p.run_count - 1; r >= 0; r--) {
        const long *run = p.runs;
        for (long i = 0; i < r; i++) run = after(run);
        long t = 0;
        for (long a = 0; a < p.window_d; a++) for (long b = 0; b < p.window_h; b++) {
          if (ds[a] < 0 || hs[b] < 0) continue;
          for (const long *pair = run + PAIRS; pair < after(run); pair += 2)
            offsets[t++] = (ds[a] * p.from_h + hs[b]) * x_row + pair[1] * channels;
        }
        for (long i = run[COUNT] - 1; i >= 0; i--) {
          const long at = above + (run[FIRST] + i * run[STEP]) * channels, seen = i * run[FROM_STEP] * channels;
          if (apart) largest(1, t, offsets, dx + seen, x + seen, y + at, dy + at, channels);
          else largest(0, t, offsets, dx + seen, x + seen, y + at, dy + at, channels);
        }
      }
    }
  }
}
#endif
