/* The sum over the ranks of a node as one call: what node_allreduce.py does block by block, with the same flags in the
   same order. Compiled once for each type: T is the type, NAME(x) the name of a function for it.

   What a rank has staged lies in its cache, and a sum costs what moving those lines between caches costs. So whoever
   sums fetches them to write them (a prefetch for writing), and writes the result where it has read: each line moves
   once each way, none has to be invalidated in another cache, and the rank that takes its lines back owns them again
   when it stages the next block there. Two streams of such lines are fetched at a time: those to be summed, and, of an
   earlier block, those to be taken. */

#ifndef COMMON
#define COMMON
#include <stdint.h>
#include <string.h>

enum { STAGED, SUMMED };
enum { DONE = 0, DISAGREE = -1 };
enum { CHUNK = 64, AHEAD = 256 };  /* items that are summed at a time, and how far before that they are fetched */
enum { LINE = 64 };

/* As class Pipeline of native_allreduce.py has it. */
struct pipeline {
  long rank, ranks, lanes, slots, lead, grain, stride, looks;
  int64_t **flags[2], **headers;
  char **staging;
  long size, block, slices, first, header;
  long round, part, awaited;
};

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Whether the flag of every rank is at least `value`, after as many looks as there may be; if not, that is awaited. */
static int reached(struct pipeline *p, int flag, int64_t value) {
  long rank = 0;
  for (long look = 0; look < p->looks; look++) {
    while (rank < p->ranks && __atomic_load_n(p->flags[flag][rank], __ATOMIC_ACQUIRE) >= value) rank++;
    if (rank == p->ranks) return 1;
    relax();
  }
  p->awaited = value;
  return 0;
}

static void post(struct pipeline *p, int flag, int64_t value) {
  __atomic_store_n(p->flags[flag][p->rank], value, __ATOMIC_RELEASE);
}

/* Fetch what this rank will write, `nbytes` from `start` on. */
static void fetch(const void *start, long nbytes) {
  for (long i = 0; i < nbytes; i += LINE) __builtin_prefetch((const char *)start + i, 1, 3);
}

/* The slice of a rank: items `low` to `high` of a block of `size`. */
static void slice(const struct pipeline *p, long rank, long size, long *low, long *high) {
  long chunk = ((size + p->lanes - 1) / p->lanes + p->grain - 1) / p->grain * p->grain, start = rank * chunk;
  *low = start < size ? start : size;
  *high = start + chunk < size ? start + chunk : size;
}

static long shorter(long a, long b) { return a < b ? a : b; }
#endif

/* A block of the buffer: `size` items at `values`, of which this rank stages a part in `staged[rank]`. */
struct NAME(block) {
  T *values, **staged;
  long size;
};

static void NAME(find)(const struct pipeline *p, T *flat, long number, struct NAME(block) *block) {
  long start = number * p->block, slot = (p->first + number) % p->slots;
  block->values = flat + start;
  block->size = shorter(p->size - start, p->block);
  for (long r = 0; r < p->ranks; r++) block->staged[r] = (T *)(p->staging[r] + slot * p->stride);
}

/* `out` and `copy`: the sum of `n` items of all sources, in the order of ranks. Both may be sources. */
static void NAME(sum)(T *out, T *copy, T *const *sources, long ranks, long n) {
  T total[CHUNK];
  const T *a = sources[0];
  for (long r = 1; r < ranks; r++, a = total) {
    const T *b = sources[r];
    if (r + 1 < ranks) {
      for (long i = 0; i < n; i++) total[i] = a[i] + b[i];
      continue;
    }
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
    for (long i = 0; i < n; i++) copy[i] = out[i] = a[i] + b[i];
  }
}

/* Every rank sums everything of a block. */
static void NAME(sum_all)(struct pipeline *p, const struct NAME(block) *b) {
  T *sources[p->ranks];
  for (long start = 0; start < b->size; start += CHUNK) {
    for (long r = 0; r < p->ranks; r++) sources[r] = b->staged[r] + start;
    sources[p->rank] = b->values + start;
    NAME(sum)(b->values + start, b->values + start, sources, p->ranks, shorter(b->size - start, CHUNK));
  }
}

/* Copy to the staging area what others sum: without this rank's slice, where blocks are divided. */
static void NAME(stage)(struct pipeline *p, const struct NAME(block) *b) {
  long low = b->size, high = b->size;
  if (p->slices) slice(p, p->rank, b->size, &low, &high);
  memcpy(b->staged[p->rank], b->values, low * sizeof(T));
  memcpy(b->staged[p->rank] + high, b->values + high, (b->size - high) * sizeof(T));
}

/* Sum a chunk of this rank's slice, in its buffer and in the staging areas of the others. */
static void NAME(sum_chunk)(struct pipeline *p, const struct NAME(block) *b, long start, long end) {
  if (start >= end) return;
  T *sources[p->ranks], *out = b->values + start, *copy = out;
  long n = shorter(end - start, CHUNK);
  for (long r = 0; r < p->ranks; r++) {
    sources[r] = b->staged[r] + start;
    if (r == p->rank) continue;
    if (start + AHEAD < end) fetch(sources[r] + AHEAD, n * sizeof(T));
    copy = sources[r];
  }
  sources[p->rank] = out;
  NAME(sum)(out, copy, sources, p->ranks, n);
  for (long r = 0; r < p->ranks; r++)
    if (r != p->rank && sources[r] != copy) memcpy(sources[r], out, n * sizeof(T));
}

/* Sum this rank's slice of block `b` and take the slices of the others of block `t` from this rank's staging area,
   chunk by chunk in turn; either may have no items. */
static void NAME(sum_and_take)(struct pipeline *p, const struct NAME(block) *b, const struct NAME(block) *t) {
  long low, high, from, to, own = p->rank, width = 0;
  slice(p, own, b->size, &low, &high);
  slice(p, 0, b->size > t->size ? b->size : t->size, &from, &width);
  for (long start = 0; start < width; start += CHUNK) {
    NAME(sum_chunk)(p, b, low + start, high);
    for (long r = 0; r < p->ranks; r++) {
      slice(p, r, t->size, &from, &to);
      from += start;
      if (r == own || from >= to) continue;
      T *values = t->values + from;
      const T *staged = t->staged[own] + from;
      long n = shorter(to - from, CHUNK);
      if (from + AHEAD < to) fetch(staged + AHEAD, n * sizeof(T));
      for (long i = 0; i < n; i++) values[i] = staged[i];
    }
  }
}

/* Stage block k, sum block k - lead; where blocks are divided, take block k - 2 lead while that is summed. Returns
   DONE; 1 + flag where the caller has to wait until this flag of every rank has reached `awaited`, and then call again;
   or DISAGREE. */
long NAME(allreduce)(struct pipeline *p, T *flat) {
  T *of_stage[p->ranks], *of_sum[p->ranks], *of_take[p->ranks];
  struct NAME(block) stage = {.staged = of_stage}, sum = {.staged = of_sum}, take = {.staged = of_take};
  long blocks = p->size ? (p->size + p->block - 1) / p->block : 1, lead = p->lead;
  for (; p->round < blocks + (1 + p->slices) * lead; p->round++, p->part = 0) {
    long k = p->round, j = k - lead, l = p->slices ? j - lead : -1;
    if (p->part == 0 && k < blocks) {
      if (!reached(p, SUMMED, p->first + k + 1 - p->slots)) return 1 + SUMMED;
      if (k == 0) p->headers[p->rank][p->first % p->slots] = p->header;
      NAME(find)(p, flat, k, &stage);
      NAME(stage)(p, &stage);
      post(p, STAGED, p->first + k + 1);
    }
    p->part = 1;
    int sums = j >= 0 && j < blocks;
    if (sums && !reached(p, STAGED, p->first + j + 1)) return 1 + STAGED;
    for (long r = 0; j == 0 && r < p->ranks; r++)
      if (p->headers[r][p->first % p->slots] != p->header) return DISAGREE;
    if (l >= 0 && !reached(p, SUMMED, p->first + l + 1)) return 1 + SUMMED;
    sum.size = take.size = 0;
    if (sums) NAME(find)(p, flat, j, &sum);
    if (l >= 0) NAME(find)(p, flat, l, &take);
    if (p->slices) NAME(sum_and_take)(p, &sum, &take);
    else if (sums) NAME(sum_all)(p, &sum);
    if (sums) post(p, SUMMED, p->first + j + 1);
  }
  return DONE;
}
