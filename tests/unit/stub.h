/* stub.h: the stub driver's controls in a test's own process, found with dlsym on the same
 * library that the runtime loads. */
#ifndef ATTNC_TESTS_UNIT_STUB_H
#define ATTNC_TESTS_UNIT_STUB_H

#include "tests/unit/rt.h"

#include <dlfcn.h>

#define STUB_TABLE(X)                                                                      \
  X(void, stub_reset, (void))                                                              \
  X(void, stub_fail, (const char *, int, CUresult))                                        \
  X(int, stub_calls, (const char *))                                                       \
  X(int, stub_launches, (void))                                                            \
  X(StubLaunch, stub_launch_at, (int))                                                     \
  X(const void *, stub_image_at, (int, size_t *))                                          \
  X(void, stub_logs, (const char *, const char *))                                         \
  X(void, stub_version, (int))                                                             \
  X(void, stub_cc, (int, int))                                                             \
  X(void, stub_capturing, (CUstreamCaptureStatus))                                         \
  X(int, stub_loaded_in_mode, (void))                                                      \
  X(void, stub_load_ms, (int))                                                             \
  X(CUresult, cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode *))                  \
  X(int, stub_modules, (void))                                                             \
  X(int, stub_primaries, (int))                                                            \
  X(unsigned, stub_shared_opt_in, (void))                                                  \
  X(CUresult, cuCtxSetCurrent, (CUcontext))                                                \
  X(CUresult, cuCtxGetCurrent, (CUcontext *))                                              \
  X(CUresult, cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))                           \
  X(CUresult, cuDevicePrimaryCtxRelease_v2, (CUdevice))

typedef struct StubDriver {
#define X(type, name, args) type(*name) args;
  STUB_TABLE(X)
#undef X
} StubDriver;

static StubDriver stub;

static inline void
stub_find(void)
{
  void *handle = dlopen(STUB_LIBCUDA, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    fail_msg("%s", dlerror());
#define X(type, name, args)                                                                \
  *(void **)&stub.name = dlsym(handle, #name);                                             \
  assert_non_null(*(void **)&stub.name);
  STUB_TABLE(X)
#undef X
}

/* Makes a device's primary context current on this thread. */
static inline void
stub_use(int device)
{
  CUcontext context;
  assert_int_equal(stub.cuDevicePrimaryCtxRetain(&context, device), 0);
  assert_int_equal(stub.cuCtxSetCurrent(context), 0);
  stub.cuDevicePrimaryCtxRelease_v2(device);
}

#endif
