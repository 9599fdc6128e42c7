#ifndef BENCH_FA3_CUDART_H
#define BENCH_FA3_CUDART_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the first device's context current and loads the PTX that has every kernel.  0, or
 * the driver's error, and what its JIT says in log, n bytes. */
int cudart_open(const char *ptx, char *log, size_t n);

#ifdef __cplusplus
}
#endif
#endif
