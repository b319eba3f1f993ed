#include <math.h>
#include "paraflow.h"

#define GELU(T, DTYPE, ERF)                                                  \
    int gelu_##DTYPE(pf_call *call) {                                        \
        const T *x = call->input[0].data;                                    \
        T *y = call->output[0].data;                                         \
        for (int64_t i = 0; i < call->output[0].count; i++)                  \
            y[i] = (T)0.5 * x[i] * (1 + ERF(x[i] * (T)0.70710678118654752)); \
        return 0;                                                            \
    }
GELU(float, float32, erff)
GELU(double, float64, erf)
