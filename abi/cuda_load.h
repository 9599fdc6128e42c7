/* cuda_load.h: what attnc calls of the CUDA driver while it loads a kernel, where the
 * driver has it: the linker, which makes a cubin of PTX, and what keeps a load out of the
 * way of streams that are captured.  The emulator need not export any of it.
 *
 * Source: CUDA Driver API reference 13.0, "Module Management", "Stream Management". */
#ifndef ATTNC_ABI_CUDA_LOAD_H
#define ATTNC_ABI_CUDA_LOAD_H

#include "abi/cuda.h"

/* CUjitInputType, as far as it is used */
#define CUDA_JIT_INPUT_TABLE(X) X(CU_JIT_INPUT_PTX, 1)

#ifndef CUDA_ABI_TABLES_ONLY
typedef struct CUlinkState_st *CUlinkState;
#define X(name, value) name = value,
typedef enum { CUDA_JIT_INPUT_TABLE(X) } CUjitInputType;
#undef X
#endif

#define CUDA_LOAD_ENTRY_TABLE(X)                                                           \
  X(cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode *))                            \
  X(cuLinkCreate_v2, (unsigned n, CUjit_option *, void **values, CUlinkState *))           \
  X(cuLinkAddData_v2, (CUlinkState, CUjitInputType, void *data, size_t, const char *name,  \
                       unsigned n, CUjit_option *, void **values))                         \
  X(cuLinkComplete, (CUlinkState, void **cubin, size_t *))                                 \
  X(cuLinkDestroy, (CUlinkState))

#endif
