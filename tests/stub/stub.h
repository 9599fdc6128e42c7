/* stub.h: the controls of libcuda_stub.so, a driver that records and does nothing.
 *
 * It exports every function of CUDA_ENTRY_TABLE and counts the calls of each.  Memory is
 * host memory, events measure nothing, and a launch is written down: entry, grid, block,
 * shared memory, stream, and the parameters, whose sizes it takes from the PTX text as a
 * driver does; of a cubin none.  A tensor map is its arguments, checked as the driver's
 * reference says.  Any call can be made to fail.  Two devices of capability 8.0. */
#ifndef ATTNC_TESTS_STUB_H
#define ATTNC_TESTS_STUB_H

#include "abi/cuda_load.h"

#include <stdbool.h>

enum { STUB_PARAMS = 64, STUB_LAUNCHES = 64, STUB_MAPS = 4 };

/* What the stub's cuTensorMapEncodeTiled writes: its arguments. */
typedef struct StubMap {
  unsigned long long address, dims[5], strides[4];
  unsigned char rank, type, interleave, swizzle, l2, fill;
  unsigned short box[5], element_strides[5];
} StubMap;
_Static_assert(sizeof(StubMap) <= CUDA_TENSOR_MAP_BYTES, "fits a map");

typedef struct StubLaunch {
  char entry[64];
  unsigned grid[3], block[3], shared;
  void *stream;
  int n_params;
  int sizes[STUB_PARAMS];                 /* bytes of each */
  unsigned long long values[STUB_PARAMS]; /* zero-extended; of those up to 8 bytes */
  StubMap maps[STUB_MAPS];                /* the first parameters of 128 bytes */
  int misaligned;                         /* maps at an address that is no multiple of 64 */
  bool extended, serialized;              /* by cuLaunchKernelEx; with that attribute */
  unsigned cluster[3];                    /* 0: no such attribute */
} StubLaunch;

void stub_reset(void);
/* The nth call from now (from 1) of that function returns `code`; n 0: every one. */
void stub_fail(const char *function, int n, CUresult code);
int stub_calls(const char *function); /* since the last reset */
int stub_launches(void);
StubLaunch stub_launch_at(int i);
/* What loading answers in the JIT logs, and the number that cuDriverGetVersion gives. */
void stub_logs(const char *info, const char *error);
void stub_version(int version);
void stub_cc(int device, int cc);
/* What cuStreamIsCapturing says of every stream. */
void stub_capturing(CUstreamCaptureStatus status);
/* The mode that was this thread's at the last load of an image; -1: none was loaded. */
int stub_loaded_in_mode(void);
/* The i-th image that was loaded since the last reset, i below STUB_IMAGES: its bytes, a
 * text's up to its 0, an ELF file's up to its last section; NULL: there is none. */
enum { STUB_IMAGES = 16 };
const void *stub_image_at(int i, size_t *n);
/* Milliseconds that cuModuleLoadDataEx takes. */
void stub_load_ms(int ms);
int stub_modules(void);            /* loaded and not unloaded */
int stub_primaries(int device);    /* retains of the primary context not yet released */
unsigned stub_shared_opt_in(void); /* last MAX_DYNAMIC_SHARED_SIZE_BYTES set */

#endif
