/* What a kernel in C or C++ is given by paraflow; see paraflow.native_kernel.
 *
 * A kernel is a function of one argument that computes the outputs of one call:
 *
 *     #include <math.h>
 *     #include "paraflow.h"
 *
 *     int softclip(pf_call *call) {
 *         const float *x = call->input[0].data;
 *         float *y = call->output[0].data;
 *         const float limit = pf_real(call, "limit");
 *         for (int64_t i = 0; i < call->output[0].count; i++) y[i] = limit * tanhf(x[i] / limit);
 *         return 0;
 *     }
 *
 * It returns 0, or `pf_fail(call, ...)`, whose text becomes the error of the session's run, with the name of the
 * operation and the line of the program that made it. In C++ it may throw, and what() becomes the error.
 *
 * Memory is paraflow's: a kernel reads its inputs, writes every element of its outputs, and keeps no pointer. Tensors
 * are C-contiguous (the last index runs fastest) and aligned to their elements, but for the inputs of a kernel that
 * asked for `strided=True`. For an elementwise operation every input has the shape of the output, broadcast where it
 * was smaller; the tensors may be stretches of larger ones, so only `count` matters. A kernel is not called where no
 * output has an element. An output shares the memory of an input only where the kernel allowed it with `inplace`.
 *
 * Several threads may be in a kernel at the same time, without Python's interpreter lock: it has no state of its own
 * and calls no Python.
 */
#ifndef PARAFLOW_H
#define PARAFLOW_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef enum {
    PF_BOOL, /* one byte, 0 or 1 */
    PF_INT8, PF_INT16, PF_INT32, PF_INT64,
    PF_UINT8, PF_UINT16, PF_UINT32, PF_UINT64,
    PF_FLOAT16, /* the bits, as uint16_t */
    PF_FLOAT32, PF_FLOAT64,
    PF_COMPLEX64, PF_COMPLEX128 /* real and imaginary part side by side */
} pf_dtype;

typedef struct {
    void *data;
    const int64_t *dims;    /* `rank` sizes */
    const int64_t *strides; /* `rank` distances in bytes; 0 along an axis that is broadcast */
    int64_t count;          /* the number of elements: the product of dims, 1 for rank 0 */
    int32_t rank;
    int32_t dtype; /* a pf_dtype */
} pf_tensor;

typedef enum { PF_OTHER, PF_INTEGER, PF_REAL, PF_TEXT, PF_INTEGERS } pf_kind;

typedef struct {
    const char *name;
    const char *text;
    const int64_t *integers;
    int64_t integer; /* of PF_INTEGERS: how many */
    double real;
    int32_t kind; /* a pf_kind; read attributes with pf_int, pf_real, pf_text, pf_ints */
} pf_attribute;

typedef struct {
    const pf_tensor *input;
    const pf_tensor *output;
    const pf_attribute *attribute;
    int32_t inputs, outputs, attributes; /* how many of each */
    int32_t failed;
    char message[504];
} pf_call;

/* Ends the run with this error, formatted as by printf: `return pf_fail(call, "expected rank 2, not %d", rank);` */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
static inline int pf_fail(pf_call *call, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->message, sizeof call->message, format, arguments);
    va_end(arguments);
    call->failed = 1;
    return 1;
}

/* The attribute of the numpy body's signature with this name and kind, or NULL; then the run ends with an error. */
static inline const pf_attribute *pf_find(pf_call *call, const char *name, pf_kind kind) {
    for (int32_t i = 0; i < call->attributes; i++) {
        const pf_attribute *found = &call->attribute[i];
        if (strcmp(found->name, name) == 0) {
            if (found->kind == (int32_t)kind || (kind == PF_REAL && found->kind == PF_INTEGER)) return found;
            static const char *const kinds[] = {"of no kind that C can read", "an integer", "a real number", "a text",
                                                "a tuple of integers"};
            pf_fail(call, "the attribute '%s' is %s, not %s", name, kinds[found->kind], kinds[kind]);
            return NULL;
        }
    }
    pf_fail(call, "the operation has no attribute '%s'", name);
    return NULL;
}

/* An attribute that is an integer or a bool. */
static inline int64_t pf_int(pf_call *call, const char *name) {
    const pf_attribute *found = pf_find(call, name, PF_INTEGER);
    return found ? found->integer : 0;
}

/* An attribute that is a number. */
static inline double pf_real(pf_call *call, const char *name) {
    const pf_attribute *found = pf_find(call, name, PF_REAL);
    return found ? found->kind == PF_INTEGER ? (double)found->integer : found->real : 0;
}

/* An attribute that is a string, in UTF-8. */
static inline const char *pf_text(pf_call *call, const char *name) {
    const pf_attribute *found = pf_find(call, name, PF_TEXT);
    return found ? found->text : "";
}

/* An attribute that is a tuple of integers: a shape, axes, strides; `length` is set to how many there are. */
static inline const int64_t *pf_ints(pf_call *call, const char *name, int64_t *length) {
    const pf_attribute *found = pf_find(call, name, PF_INTEGERS);
    *length = found ? found->integer : 0;
    return found ? found->integers : NULL;
}

#endif
