#include <limits>
#include <stdexcept>
#include "paraflow.h"

template <class T> int nearest(pf_call *call) {
    const pf_tensor &points = call->input[0], &centres = call->input[1];
    const int64_t size = points.dims[1];
    if (centres.dims[0] == 0) throw std::invalid_argument("there are no centres");
    const T *x = static_cast<const T *>(points.data);
    T *distance = static_cast<T *>(call->output[0].data);
    int32_t *index = static_cast<int32_t *>(call->output[1].data);
    for (int64_t i = 0; i < points.dims[0]; i++, x += size) {
        distance[i] = std::numeric_limits<T>::infinity();
        const T *c = static_cast<const T *>(centres.data);
        for (int64_t j = 0; j < centres.dims[0]; j++, c += size) {
            T sum = 0;
            for (int64_t k = 0; k < size; k++) sum += (x[k] - c[k]) * (x[k] - c[k]);
            if (sum < distance[i]) distance[i] = sum, index[i] = static_cast<int32_t>(j);
        }
    }
    return 0;
}
