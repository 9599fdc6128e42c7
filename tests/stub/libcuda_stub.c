#include "tests/stub/stub.h"

#include <elf.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STUB __attribute__((visibility("default")))

enum { DEVICES = 2, STACK = 8 };

struct CUctx_st {
  int device;
};
struct CUmod_st {
  char *ptx; /* or a cubin, of n bytes */
  size_t n;
  struct CUfunc_st *functions;
};
typedef struct Image {
  char *bytes;
  size_t n;
} Image;
struct CUfunc_st {
  struct CUfunc_st *next; /* of the same module */
  char entry[64];
  int n, sizes[STUB_PARAMS];
};
struct CUstream_st {
  int unused;
};
struct CUevent_st {
  int unused;
};

/* Functions by index in the table. */
enum {
#define X(need, name, args) F_##name,
  CUDA_ENTRY_TABLE(X)
#undef X
#define X(name, args) F_##name,
      CUDA_LOAD_ENTRY_TABLE(X)
#undef X
          FUNCTIONS
};
static const char *const function_names[] = {
#define X(need, name, args) #name,
    CUDA_ENTRY_TABLE(X)
#undef X
#define X(name, args) #name,
        CUDA_LOAD_ENTRY_TABLE(X)
#undef X
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  int calls[FUNCTIONS], fail_at[FUNCTIONS];
  bool fail_all[FUNCTIONS];
  CUresult fail_code[FUNCTIONS];
  StubLaunch launches[STUB_LAUNCHES];
  int n_launches, modules, primaries[DEVICES], cc[DEVICES], version, load_ms;
  unsigned opt_in;
  Image images[STUB_IMAGES];
  int n_images;
  char info[4096], error[4096];
  CUstreamCaptureStatus capturing;
  int loaded_in_mode;
} now = {.cc = {80, 80}, .version = 13000, .loaded_in_mode = -1};
static struct CUctx_st primary[DEVICES] = {{0}, {1}};
static _Thread_local CUcontext stack[STACK];
static _Thread_local int depth;
static _Thread_local CUstreamCaptureMode thread_mode;

/* ---- controls ---- */

static int
index_of(const char *function)
{
  for (int i = 0; i < FUNCTIONS; i++)
    if (!strcmp(function, function_names[i]))
      return i;
  fprintf(stderr, "stub: no function %s\n", function);
  abort();
}

STUB void
stub_reset(void)
{
  pthread_mutex_lock(&lock);
  int modules = now.modules, primaries[DEVICES];
  memcpy(primaries, now.primaries, sizeof primaries);
  for (int i = 0; i < now.n_images; i++)
    free(now.images[i].bytes);
  memset(&now, 0, sizeof now);
  now.modules = modules;
  memcpy(now.primaries, primaries, sizeof primaries);
  now.version = 13000;
  now.loaded_in_mode = -1;
  now.cc[0] = now.cc[1] = 80;
  pthread_mutex_unlock(&lock);
}

STUB void
stub_fail(const char *function, int n, CUresult code)
{
  int i = index_of(function);
  pthread_mutex_lock(&lock);
  now.fail_at[i] = n ? now.calls[i] + n : 0;
  now.fail_all[i] = n == 0;
  now.fail_code[i] = code;
  pthread_mutex_unlock(&lock);
}

static CUresult
call(int i)
{
  pthread_mutex_lock(&lock);
  int n = ++now.calls[i];
  CUresult code = now.fail_all[i] || n == now.fail_at[i] ? now.fail_code[i] : CUDA_SUCCESS;
  pthread_mutex_unlock(&lock);
  return code;
}
#define CALL(name)                                                                         \
  do {                                                                                     \
    CUresult code_ = call(F_##name);                                                       \
    if (code_)                                                                             \
      return code_;                                                                        \
  } while (0)

#define LOCKED(type, value)                                                                \
  pthread_mutex_lock(&lock);                                                               \
  type out = (value);                                                                      \
  pthread_mutex_unlock(&lock);                                                             \
  return out
STUB int
stub_calls(const char *function)
{
  int i = index_of(function);
  LOCKED(int, now.calls[i]);
}
STUB int
stub_launches(void)
{
  LOCKED(int, now.n_launches);
}
STUB StubLaunch
stub_launch_at(int i)
{
  LOCKED(StubLaunch, now.launches[i]);
}
STUB int
stub_modules(void)
{
  LOCKED(int, now.modules);
}
STUB int
stub_primaries(int device)
{
  LOCKED(int, now.primaries[device]);
}
STUB unsigned
stub_shared_opt_in(void)
{
  LOCKED(unsigned, now.opt_in);
}
STUB void
stub_logs(const char *info, const char *error)
{
  snprintf(now.info, sizeof now.info, "%s", info);
  snprintf(now.error, sizeof now.error, "%s", error);
}
STUB void
stub_version(int version)
{
  now.version = version;
}
STUB void
stub_cc(int device, int cc)
{
  now.cc[device] = cc;
}
STUB void
stub_load_ms(int ms)
{
  now.load_ms = ms;
}

STUB void
stub_capturing(CUstreamCaptureStatus status)
{
  now.capturing = status;
}
STUB int
stub_loaded_in_mode(void)
{
  LOCKED(int, now.loaded_in_mode);
}

/* ---- the driver's functions ---- */

#define X(need, name, args) STUB CUresult name args;
CUDA_ENTRY_TABLE(X)
#undef X
#define X(name, args) STUB CUresult name args;
CUDA_LOAD_ENTRY_TABLE(X)
#undef X

CUresult
cuInit(unsigned flags)
{
  CALL(cuInit);
  return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult
cuDriverGetVersion(int *version)
{
  CALL(cuDriverGetVersion);
  *version = now.version;
  return CUDA_SUCCESS;
}
CUresult
cuGetErrorName(CUresult code, const char **out)
{
  CALL(cuGetErrorName);
  switch (code) {
#define X(name, value)                                                                     \
  case value:                                                                              \
    *out = #name;                                                                          \
    return CUDA_SUCCESS;
    CUDA_RESULT_TABLE(X)
#undef X
  }
  return CUDA_ERROR_INVALID_VALUE;
}
CUresult
cuGetErrorString(CUresult code, const char **out)
{
  CALL(cuGetErrorString);
  *out = code == CUDA_SUCCESS ? "no error" : "the stub says so";
  return CUDA_SUCCESS;
}
CUresult
cuDeviceGetCount(int *n)
{
  CALL(cuDeviceGetCount);
  *n = DEVICES;
  return CUDA_SUCCESS;
}
CUresult
cuDeviceGet(CUdevice *out, int ordinal)
{
  CALL(cuDeviceGet);
  if (ordinal < 0 || ordinal >= DEVICES)
    return CUDA_ERROR_INVALID_DEVICE;
  *out = ordinal;
  return CUDA_SUCCESS;
}
CUresult
cuDeviceGetName(char *name, int n, CUdevice device)
{
  CALL(cuDeviceGetName);
  snprintf(name, (size_t)n, "Stub %d", device);
  return CUDA_SUCCESS;
}
CUresult
cuDeviceGetAttribute(int *out, CUdevice_attribute which, CUdevice device)
{
  CALL(cuDeviceGetAttribute);
  switch ((int)which) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    *out = now.cc[device] / 10;
    break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    *out = now.cc[device] % 10;
    break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    *out = 108;
    break;
  default:
    *out = 166912;
  }
  return CUDA_SUCCESS;
}
CUresult
cuDeviceTotalMem_v2(size_t *out, CUdevice device)
{
  CALL(cuDeviceTotalMem_v2);
  (void)device;
  *out = (size_t)1 << 30;
  return CUDA_SUCCESS;
}
static CUresult
retain(CUdevice device, int by)
{
  pthread_mutex_lock(&lock);
  now.primaries[device] += by;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}
CUresult
cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
  CALL(cuDevicePrimaryCtxRetain);
  *out = &primary[device];
  return retain(device, 1);
}
CUresult
cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
  CALL(cuDevicePrimaryCtxRelease_v2);
  return retain(device, -1);
}
CUresult
cuCtxGetCurrent(CUcontext *out)
{
  CALL(cuCtxGetCurrent);
  *out = depth ? stack[depth - 1] : NULL;
  return CUDA_SUCCESS;
}
CUresult
cuCtxSetCurrent(CUcontext context)
{
  CALL(cuCtxSetCurrent);
  depth = depth ? depth : 1;
  stack[depth - 1] = context;
  if (!context)
    depth--;
  return CUDA_SUCCESS;
}
CUresult
cuCtxPushCurrent_v2(CUcontext context)
{
  CALL(cuCtxPushCurrent_v2);
  if (depth == STACK)
    return CUDA_ERROR_INVALID_VALUE;
  stack[depth++] = context;
  return CUDA_SUCCESS;
}
CUresult
cuCtxPopCurrent_v2(CUcontext *out)
{
  CALL(cuCtxPopCurrent_v2);
  if (!depth)
    return CUDA_ERROR_INVALID_CONTEXT;
  *out = stack[--depth];
  return CUDA_SUCCESS;
}
CUresult
cuCtxGetDevice(CUdevice *out)
{
  CALL(cuCtxGetDevice);
  if (!depth)
    return CUDA_ERROR_INVALID_CONTEXT;
  *out = stack[depth - 1]->device;
  return CUDA_SUCCESS;
}
CUresult
cuCtxSynchronize(void)
{
  CALL(cuCtxSynchronize);
  return CUDA_SUCCESS;
}

static void
fill_log(CUjit_option option, void *value)
{
  if (option == CU_JIT_INFO_LOG_BUFFER)
    snprintf(value, 4096, "%s", now.info);
  if (option == CU_JIT_ERROR_LOG_BUFFER)
    snprintf(value, 4096, "%s", now.error);
}

static bool
is_elf(const void *image)
{
  return !memcmp(image, ELFMAG, SELFMAG);
}

/* A driver is not told how many they are either. */
static size_t
image_bytes(const void *image)
{
  const Elf64_Ehdr *head = image;
  if (!is_elf(image))
    return strlen(image);
  size_t n = sizeof *head;
  const Elf64_Shdr *section = (const void *)((const char *)image + head->e_shoff);
  if (head->e_shoff)
    n = head->e_shoff + (size_t)head->e_shnum * sizeof *section;
  for (int i = 0; i < head->e_shnum; i++)
    if (section[i].sh_type != SHT_NOBITS && section[i].sh_offset + section[i].sh_size > n)
      n = section[i].sh_offset + section[i].sh_size;
  const size_t segments = head->e_phoff + (size_t)head->e_phnum * sizeof(Elf64_Phdr);
  return segments > n ? segments : n;
}

static char *
copy_of(const void *image, size_t n)
{
  char *copy = malloc(n + 1);
  memcpy(copy, image, n);
  copy[n] = 0;
  return copy;
}

STUB const void *
stub_image_at(int i, size_t *n)
{
  if (i < 0 || i >= now.n_images)
    return NULL;
  *n = now.images[i].n;
  return now.images[i].bytes;
}

CUresult
cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned n, CUjit_option *options,
                   void **values)
{
  for (unsigned i = 0; i < n; i++)
    fill_log(options[i], values[i]);
  nanosleep(&(struct timespec){.tv_nsec = now.load_ms * 1000000L}, NULL);
  CALL(cuModuleLoadDataEx);
  if (!depth)
    return CUDA_ERROR_INVALID_CONTEXT;
  *out = calloc(1, sizeof **out);
  (*out)->n = image_bytes(image);
  (*out)->ptx = copy_of(image, (*out)->n);
  pthread_mutex_lock(&lock);
  if (now.n_images < STUB_IMAGES) {
    now.images[now.n_images].bytes = copy_of(image, (*out)->n);
    now.images[now.n_images++].n = (*out)->n;
  }
  now.modules++;
  now.loaded_in_mode = thread_mode;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}
CUresult
cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
  CUstreamCaptureMode before = thread_mode;
  CALL(cuThreadExchangeStreamCaptureMode);
  thread_mode = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

/* The linker's cubin is an ELF header with the PTX behind it, from "cubin of " on. */
struct CUlinkState_st {
  CUjit_option options[16];
  void *values[16];
  unsigned n;
  char *cubin;
  size_t bytes;
};
CUresult
cuLinkCreate_v2(unsigned n, CUjit_option *options, void **values, CUlinkState *out)
{
  CALL(cuLinkCreate_v2);
  if (!depth || n > 16)
    return depth ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_CONTEXT;
  *out = calloc(1, sizeof **out);
  memcpy((*out)->options, options, n * sizeof *options);
  memcpy((*out)->values, values, n * sizeof *values);
  (*out)->n = n;
  return CUDA_SUCCESS;
}
CUresult
cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t n,
                 const char *name, unsigned n_options, CUjit_option *options, void **values)
{
  (void)name;
  (void)options;
  (void)values;
  for (unsigned i = 0; i < state->n; i++)
    fill_log(state->options[i], state->values[i]);
  nanosleep(&(struct timespec){.tv_nsec = now.load_ms * 1000000L}, NULL);
  CALL(cuLinkAddData_v2);
  if (type != CU_JIT_INPUT_PTX || n_options || !n || ((char *)data)[n - 1])
    return CUDA_ERROR_INVALID_VALUE;
  const Elf64_Ehdr head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3},
                           .e_phoff = sizeof head,
                           .e_phnum = (Elf64_Half)((n + 9) / sizeof(Elf64_Phdr) + 1)};
  state->bytes = head.e_phoff + head.e_phnum * sizeof(Elf64_Phdr);
  state->cubin = calloc(1, state->bytes);
  memcpy(state->cubin, &head, sizeof head);
  memcpy(state->cubin + sizeof head, "cubin of ", 9);
  memcpy(state->cubin + sizeof head + 9, data, n);
  return CUDA_SUCCESS;
}
CUresult
cuLinkComplete(CUlinkState state, void **cubin, size_t *n)
{
  CALL(cuLinkComplete);
  *cubin = state->cubin;
  *n = state->bytes;
  return CUDA_SUCCESS;
}
CUresult
cuLinkDestroy(CUlinkState state)
{
  CALL(cuLinkDestroy);
  free(state->cubin);
  free(state);
  return CUDA_SUCCESS;
}
CUresult
cuModuleUnload(CUmodule m)
{
  CALL(cuModuleUnload);
  for (struct CUfunc_st *f = m->functions, *next; f; f = next) {
    next = f->next;
    free(f);
  }
  free(m->ptx);
  free(m);
  pthread_mutex_lock(&lock);
  now.modules--;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

/* ".param .u64 …", ".param .align 64 .b8 map[128]" up to the closing parenthesis: bytes of
 * each. */
static void
read_params(struct CUfunc_st *f, const char *p)
{
  const char *end = strchr(p, ')');
  while ((p = strstr(p, ".param ")) && end && p < end && f->n < STUB_PARAMS) {
    const char *array = strchr(p, '['), *next = strpbrk(p, ",)");
    p += strlen(".param ");
    while (*p && (*p < '0' || *p > '9'))
      p++;
    f->sizes[f->n++] = array && array < next ? atoi(array + 1) : atoi(p) / 8;
  }
}
CUresult
cuModuleGetFunction(CUfunction *out, CUmodule m, const char *name)
{
  char head[96];
  CALL(cuModuleGetFunction);
  snprintf(head, sizeof head, ".entry %s(", name);
  const char *at =
      is_elf(m->ptx) ? memmem(m->ptx, m->n, name, strlen(name)) : strstr(m->ptx, head);
  if (!at)
    return CUDA_ERROR_NOT_FOUND;
  struct CUfunc_st *f = calloc(1, sizeof *f);
  f->next = m->functions;
  m->functions = f;
  snprintf(f->entry, sizeof f->entry, "%s", name);
  if (!is_elf(m->ptx))
    read_params(f, at);
  *out = f;
  return CUDA_SUCCESS;
}
CUresult
cuFuncGetAttribute(int *out, CUfunction_attribute which, CUfunction f)
{
  CALL(cuFuncGetAttribute);
  (void)f;
  *out = which == CU_FUNC_ATTRIBUTE_NUM_REGS ? 168 : 0;
  return CUDA_SUCCESS;
}
CUresult
cuFuncSetAttribute(CUfunction f, CUfunction_attribute which, int value)
{
  CALL(cuFuncSetAttribute);
  (void)f;
  if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    now.opt_in = (unsigned)value;
  return CUDA_SUCCESS;
}
CUresult
cuFuncLoad(CUfunction f)
{
  CALL(cuFuncLoad);
  return f ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction f, int block, size_t smem)
{
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor);
  (void)f;
  *out = block && smem ? 1 : 2;
  return CUDA_SUCCESS;
}

static void *
host(CUdeviceptr p)
{
  return (void *)(uintptr_t)p;
}
CUresult
cuMemAlloc_v2(CUdeviceptr *out, size_t n)
{
  CALL(cuMemAlloc_v2);
  void *p = aligned_alloc(256, (n + 255) / 256 * 256);
  *out = (CUdeviceptr)(uintptr_t)p;
  return p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult
cuMemFree_v2(CUdeviceptr p)
{
  CALL(cuMemFree_v2);
  free(host(p));
  return CUDA_SUCCESS;
}
CUresult
cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n)
{
  CALL(cuMemcpyHtoD_v2);
  memcpy(host(to), from, n);
  return CUDA_SUCCESS;
}
CUresult
cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n)
{
  CALL(cuMemcpyDtoH_v2);
  memcpy(to, host(from), n);
  return CUDA_SUCCESS;
}
CUresult
cuMemsetD8_v2(CUdeviceptr p, unsigned char value, size_t n)
{
  CALL(cuMemsetD8_v2);
  memset(host(p), value, n);
  return CUDA_SUCCESS;
}
CUresult
cuMemsetD32_v2(CUdeviceptr p, unsigned value, size_t n)
{
  CALL(cuMemsetD32_v2);
  for (size_t i = 0; i < n; i++)
    memcpy((char *)host(p) + 4 * i, &value, 4);
  return CUDA_SUCCESS;
}
CUresult
cuMemsetD8Async(CUdeviceptr p, unsigned char value, size_t n, CUstream stream)
{
  CALL(cuMemsetD8Async);
  (void)stream;
  memset(host(p), value, n);
  return CUDA_SUCCESS;
}
CUresult
cuStreamCreate(CUstream *out, unsigned flags)
{
  static struct CUstream_st one;
  CALL(cuStreamCreate);
  *out = &one;
  return flags > CU_STREAM_NON_BLOCKING ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult
cuStreamDestroy_v2(CUstream stream)
{
  CALL(cuStreamDestroy_v2);
  return stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult
cuStreamSynchronize(CUstream stream)
{
  CALL(cuStreamSynchronize);
  (void)stream;
  return CUDA_SUCCESS;
}
CUresult
cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
  CALL(cuStreamIsCapturing);
  (void)stream;
  *status = now.capturing;
  return CUDA_SUCCESS;
}
CUresult
cuEventCreate(CUevent *out, unsigned flags)
{
  static struct CUevent_st one;
  CALL(cuEventCreate);
  *out = &one;
  return flags > CU_EVENT_DISABLE_TIMING ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult
cuEventDestroy_v2(CUevent event)
{
  CALL(cuEventDestroy_v2);
  return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult
cuEventRecord(CUevent event, CUstream stream)
{
  CALL(cuEventRecord);
  (void)stream;
  return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult
cuEventSynchronize(CUevent event)
{
  CALL(cuEventSynchronize);
  return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult
cuEventElapsedTime(float *ms, CUevent a, CUevent b)
{
  CALL(cuEventElapsedTime);
  *ms = 1.0f;
  return a && b ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* CUDA Driver API reference, cuTensorMapEncodeTiled. */
static bool
map_is_legal(uint32_t rank, const void *address, const uint64_t *dims,
             const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
             unsigned row, unsigned swizzle)
{
  bool legal = rank >= 1 && rank <= 5 && address && (uintptr_t)address % 16 == 0 &&
               row % 16 == 0 && (swizzle == 0 || row <= 16u << swizzle);
  for (uint32_t i = 0; legal && i < rank; i++)
    legal = dims[i] >= 1 && dims[i] <= (uint64_t)1 << 32 && box[i] >= 1 && box[i] <= 256 &&
            element_strides[i] == 1;
  for (uint32_t i = 0; legal && i + 1 < rank; i++)
    legal = strides[i] % 16 == 0 && strides[i] < (uint64_t)1 << 40;
  return legal;
}
CUresult
cuTensorMapEncodeTiled(CUtensorMap *out, CUtensorMapDataType type, uint32_t rank,
                       void *address, const uint64_t *dims, const uint64_t *strides,
                       const uint32_t *box, const uint32_t *element_strides,
                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                       CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill)
{
  static const unsigned char bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  CALL(cuTensorMapEncodeTiled);
  if ((uintptr_t)out % CUDA_TENSOR_MAP_ALIGN ||
      !map_is_legal(rank, address, dims, strides, box, element_strides,
                    box[0] * bytes[type], swizzle))
    return CUDA_ERROR_INVALID_VALUE;
  StubMap m;
  memset(&m, 0, sizeof m); /* padding too: tests compare bytes */
  m.address = (uintptr_t)address;
  m.rank = (unsigned char)rank;
  m.type = (unsigned char)type;
  m.interleave = (unsigned char)interleave;
  m.swizzle = (unsigned char)swizzle;
  m.l2 = (unsigned char)l2;
  m.fill = (unsigned char)fill;
  for (uint32_t i = 0; i < rank; i++) {
    m.dims[i] = dims[i];
    m.box[i] = (unsigned short)box[i];
    m.element_strides[i] = (unsigned short)element_strides[i];
    if (i)
      m.strides[i - 1] = strides[i - 1];
  }
  memcpy(out, &m, sizeof m);
  return CUDA_SUCCESS;
}

static StubLaunch
launch_new(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
           unsigned smem, CUstream stream)
{
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  StubLaunch l;
  memset(&l, 0, sizeof l);
  memcpy(l.grid, grid, sizeof grid);
  memcpy(l.block, block, sizeof block);
  l.shared = smem;
  l.stream = stream;
  return l;
}

static void
record(StubLaunch *l, CUfunction f, void **params)
{
  int maps = 0;
  l->n_params = f->n;
  memcpy(l->entry, f->entry, sizeof l->entry); /* of calloc: zeros behind the name */
  for (int i = 0; i < f->n; i++) {
    l->sizes[i] = f->sizes[i];
    if (f->sizes[i] <= 8) {
      memcpy(&l->values[i], params[i], (size_t)f->sizes[i]);
    } else if (maps < STUB_MAPS) {
      memcpy(&l->maps[maps++], params[i], sizeof(StubMap));
      l->misaligned += (uintptr_t)params[i] % CUDA_TENSOR_MAP_ALIGN != 0;
    }
  }
  pthread_mutex_lock(&lock);
  now.launches[now.n_launches++ % STUB_LAUNCHES] = *l;
  pthread_mutex_unlock(&lock);
}
CUresult
cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
               unsigned by, unsigned bz, unsigned smem, CUstream stream, void **params,
               void **extra)
{
  CALL(cuLaunchKernel);
  StubLaunch l = launch_new(gx, gy, gz, bx, by, bz, smem, stream);
  record(&l, f, params);
  return extra ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult
cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra)
{
  CALL(cuLaunchKernelEx);
  StubLaunch l = launch_new(c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX,
                            c->blockDimY, c->blockDimZ, c->sharedMemBytes, c->hStream);
  l.extended = true;
  for (unsigned i = 0; i < c->numAttrs; i++) {
    const CUlaunchAttributeValue *v = &c->attrs[i].value;
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
      memcpy(l.cluster, &v->clusterDim, sizeof l.cluster);
    else if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
      l.serialized = v->programmaticStreamSerializationAllowed != 0;
    else
      return CUDA_ERROR_INVALID_VALUE;
  }
  for (int i = 0; i < 3; i++)
    if (l.cluster[i] && l.grid[i] % l.cluster[i])
      return CUDA_ERROR_INVALID_VALUE;
  record(&l, f, params);
  return extra ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
