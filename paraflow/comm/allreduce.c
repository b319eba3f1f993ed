/* The sum over the ranks of a node as one call: what node_allreduce.py does block by block, with the same flags in the
   same order. Compiled once for each type: T is the type, NAME(x) the name of a function for it. */

#ifndef COMMON
#define COMMON
#include <stdint.h>
#include <string.h>

enum { STAGED, SUMMED };
enum { DONE = 0, DISAGREE = -1 };
enum { CHUNK = 1024 };

/* As class Pipeline of native_allreduce.py has it. */
struct pipeline {
  long rank, ranks, lanes, slots, lead, grain, stride, looks;
  int64_t **flags[2], **headers;
  char **staging, **results;
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

/* The slice of a rank: items `low` to `high` of a block of `size`; all of it where blocks are not divided. */
static void slice(const struct pipeline *p, long rank, long size, long *low, long *high) {
  long chunk = p->slices ? ((size + p->lanes - 1) / p->lanes + p->grain - 1) / p->grain * p->grain : size;
  long start = p->slices ? rank * chunk : 0;
  *low = start < size ? start : size;
  *high = start + chunk < size ? start + chunk : size;
}
#endif

static T *NAME(area)(const struct pipeline *p, char **areas, long rank, long slot) {
  return (T *)(areas[rank] + slot * p->stride);
}

/* `out`, which may be one of the sources: their sum in the order of ranks. */
static void NAME(sum)(T *out, T *const *sources, long ranks, long size) {
  T total[CHUNK];
  for (long start = 0; start < size; start += CHUNK) {
    long n = size - start < CHUNK ? size - start : CHUNK;
    const T *a = sources[0] + start;
    for (long r = 1; r < ranks; r++, a = total) {
      const T *b = sources[r] + start;
      T *to = r + 1 == ranks ? out + start : total;
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
      for (long i = 0; i < n; i++) to[i] = a[i] + b[i];
    }
  }
}

/* Copy to the staging area what others sum: without this rank's slice, where blocks are divided. */
static void NAME(stage)(struct pipeline *p, const T *values, long size, long slot) {
  T *staging = NAME(area)(p, p->staging, p->rank, slot);
  long low = size, high = size;
  if (p->slices) slice(p, p->rank, size, &low, &high);
  memcpy(staging, values, low * sizeof(T));
  memcpy(staging + high, values + high, (size - high) * sizeof(T));
}

/* Sum this rank's slice in its buffer, and copy it to the result area where others need it. */
static void NAME(combine)(struct pipeline *p, T *values, long size, long slot) {
  T *sources[p->ranks];
  long low, high;
  slice(p, p->rank, size, &low, &high);
  for (long r = 0; r < p->ranks; r++) sources[r] = NAME(area)(p, p->staging, r, slot) + low;
  sources[p->rank] = values + low;
  NAME(sum)(values + low, sources, p->ranks, high - low);
  if (p->slices) memcpy(NAME(area)(p, p->results, p->rank, slot) + low, values + low, (high - low) * sizeof(T));
}

/* Copy the slices of the others from their result areas. */
static void NAME(take)(struct pipeline *p, T *values, long size, long slot) {
  for (long r = 0; r < p->ranks; r++) {
    long low, high;
    slice(p, r, size, &low, &high);
    if (r != p->rank) memcpy(values + low, NAME(area)(p, p->results, r, slot) + low, (high - low) * sizeof(T));
  }
}

/* Stage block b, sum block b - lead, take block b - lead - 1, and so on. Returns DONE; 1 + flag where the caller has to
   wait until this flag of every rank has reached `awaited`, and then call again; or DISAGREE. */
long NAME(allreduce)(struct pipeline *p, T *flat) {
  long blocks = p->size ? (p->size + p->block - 1) / p->block : 1;
  for (; p->round < blocks + p->lead + 1; p->round++, p->part = 0)
    for (; p->part < 3; p->part++) {
      long b = p->round - (p->part ? p->lead + p->part - 1 : 0);
      if (b < 0 || b >= blocks) continue;
      long turn = p->first + b, slot = turn % p->slots, rest = p->size - b * p->block;
      long size = rest < p->block ? rest : p->block;
      T *values = flat + b * p->block;
      if (p->part == 0) {
        if (!reached(p, SUMMED, turn + 1 - p->slots)) return 1 + SUMMED;
        if (b == 0) p->headers[p->rank][slot] = p->header;
        NAME(stage)(p, values, size, slot);
        post(p, STAGED, turn + 1);
      } else if (p->part == 1) {
        if (!reached(p, STAGED, turn + 1)) return 1 + STAGED;
        for (long r = 0; b == 0 && r < p->ranks; r++)
          if (p->headers[r][slot] != p->header) return DISAGREE;
        NAME(combine)(p, values, size, slot);
        post(p, SUMMED, turn + 1);
      } else if (p->slices) {
        if (!reached(p, SUMMED, turn + 1)) return 1 + SUMMED;
        NAME(take)(p, values, size, slot);
      }
    }
  return DONE;
}
