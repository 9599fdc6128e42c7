/* Libraries: code that belongs to no context.  Its text is kept, and is a module of each
 * context in which one of its kernels or variables is asked for, from then on.  A kernel is
 * a name in a library; it stands for its function wherever a function is wanted. */
#include "emulator/driver/device.h"
#include "emulator/driver/image.h"
#include "emulator/driver/jit.h"

#include <stdlib.h>
#include <string.h>

enum { LIBRARY_LIMIT = 256 << 20 };

struct CUkern_st {
  CUlibrary library;
  const char *name;
};

/* The module that a library is in a context; by number, since addresses come again. */
typedef struct Loaded {
  CUcontext context;
  CUmodule module;
  uint64_t id;
  struct Loaded *next;
} Loaded;

struct CUlib_st {
  Arena *arena;
  char *text;
  struct CUkern_st *kernels;
  unsigned n;
  Loaded *loaded;
  CUlibrary next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* taken with a device's inside */
static CUlibrary libraries;

void
library_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}

/* ---- which are there; the lock is held ---- */

static bool
is_library(CUlibrary library)
{
  CUlibrary p = libraries;
  while (p && p != library)
    p = p->next;
  return p && library;
}

static bool
is_kernel(CUkernel kernel)
{
  for (CUlibrary p = libraries; p; p = p->next)
    for (unsigned i = 0; i < p->n; i++)
      if (&p->kernels[i] == kernel)
        return true;
  return false;
}

/* CUDA_SUCCESS with the lock held, else an error and without it. */
static CUresult
enter_library(CUlibrary library)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  pthread_mutex_lock(&lock);
  if (is_library(library))
    return CUDA_SUCCESS;
  pthread_mutex_unlock(&lock);
  return CUDA_ERROR_INVALID_HANDLE;
}

static CUresult
enter_kernel(CUkernel kernel)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  pthread_mutex_lock(&lock);
  if (is_kernel(kernel))
    return CUDA_SUCCESS;
  pthread_mutex_unlock(&lock);
  return CUDA_ERROR_INVALID_HANDLE;
}

/* ---- as a module of a context; the device is locked, the lock is held ---- */

static Loaded *
find_loaded(const Device *d, CUlibrary library, CUcontext c)
{
  for (Loaded *l = library->loaded; l; l = l->next)
    if (l->context == c && module_has(d, l->module) && l->module->ptx.id == l->id)
      return l;
  return NULL;
}

static CUresult
load_in(Device *d, CUcontext c, CUlibrary library, CUmodule *module)
{
  char log[JIT_LOG] = "";
  Loaded *l = find_loaded(d, library, c);
  if (l) {
    *module = l->module;
    return CUDA_SUCCESS;
  }
  l = NEW(library->arena, Loaded);
  if (!l)
    return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = module_load(d, c, library->text, module, log, sizeof log);
  jit_write(&(Jit){0}, log);
  if (r)
    return r;
  *l = (Loaded){c, *module, (*module)->ptx.id, library->loaded};
  library->loaded = l;
  return CUDA_SUCCESS;
}

CUresult
library_function(Device *d, CUcontext c, CUkernel kernel, CUfunction *f)
{
  CUmodule m;
  CUresult r = enter_kernel(kernel);
  if (r)
    return r;
  r = load_in(d, c, kernel->library, &m);
  if (!r)
    *f = module_function(m, kernel->name);
  pthread_mutex_unlock(&lock);
  return r;
}

/* ---- loading ---- */

static void
destroy(CUlibrary library)
{
  if (library)
    arena_free(library->arena);
  free(library);
}

/* The names of its kernels: the text is read once for them, and again where it is loaded.
 */
static CUresult
read_names(CUlibrary library, char *log, size_t n)
{
  Ptx ptx = {.arena = arena_new(LIBRARY_LIMIT)};
  if (!ptx.arena)
    return CUDA_ERROR_OUT_OF_MEMORY;
  bool ok = ptx_parse(&ptx, library->text, strlen(library->text));
  CUresult r = ok              ? CUDA_SUCCESS
               : ptx.no_memory ? CUDA_ERROR_OUT_OF_MEMORY
                               : CUDA_ERROR_INVALID_PTX;
  if (!ok)
    memcpy(log, ptx.error, n < sizeof ptx.error ? n : sizeof ptx.error);
  library->n = ok ? (unsigned)ptx.entries.n : 0;
  library->kernels = NEW_N(library->arena, struct CUkern_st, library->n + 1);
  for (unsigned i = 0; library->kernels && i < library->n; i++) {
    const char *name = arena_strdup(library->arena, ptx.entries.at[i]->name);
    library->kernels[i] = (struct CUkern_st){library, name};
    r = name ? r : CUDA_ERROR_OUT_OF_MEMORY;
  }
  arena_free(ptx.arena);
  return library->kernels ? r : CUDA_ERROR_OUT_OF_MEMORY;
}

/* All emulated devices are of one chip. */
static CUresult
make(CUlibrary *out, const void *data, char *log, size_t n)
{
  Image image = {0};
  CUlibrary library = calloc(1, sizeof *library);
  CUresult r = image_read(&image, data, dev_get(0)->chip, log, n);
  if (library && !r) {
    library->arena = arena_new(0);
    library->text = library->arena ? arena_strdup(library->arena, image.text) : NULL;
    r = library->text ? read_names(library, log, n) : CUDA_ERROR_OUT_OF_MEMORY;
  }
  free(image.owned);
  r = library ? r : CUDA_ERROR_OUT_OF_MEMORY;
  if (r)
    destroy(library);
  else
    *out = library;
  return r;
}

/* Where there is a context it is a module of it at once, so that what is wrong with it is
 * said here and not by the first launch. */
static CUresult
try_now(CUlibrary library, char *log, size_t n)
{
  CUresult r;
  CUmodule m;
  Device *d = dev_enter(&r);
  if (!d)
    return CUDA_SUCCESS;
  r = module_load(d, context_current(), library->text, &m, log, n);
  Loaded *l = r ? NULL : NEW(library->arena, Loaded);
  if (l)
    *l = (Loaded){context_current(), m, m->ptx.id, NULL};
  library->loaded = l;
  if (!r && !l) {
    module_free(d, m);
    r = CUDA_ERROR_OUT_OF_MEMORY;
  }
  dev_leave(d);
  return r;
}

static bool
options_ok(const CUlibraryOption *options, void **values, unsigned n, bool file)
{
  for (unsigned i = 0; i < n; i++)
    if (!options || !values || file || options[i] != CU_LIBRARY_BINARY_IS_PRESERVED)
      return false;
  return true;
}

CUresult
cuLibraryLoadData(CUlibrary *out, const void *data, CUjit_option *jit_options,
                  void **jit_values, unsigned n_jit, CUlibraryOption *options,
                  void **values, unsigned n)
{
  Jit jit;
  char log[JIT_LOG] = "";
  CUlibrary library;
  if (!out || !data || !jit_read(&jit, n_jit, jit_options, jit_values) ||
      !options_ok(options, values, n, false))
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  CUresult r = make(&library, data, log, sizeof log);
  if (!r) {
    r = try_now(library, log, sizeof log);
    if (r)
      destroy(library);
  }
  jit_write(&jit, log);
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  library->next = libraries;
  libraries = library;
  pthread_mutex_unlock(&lock);
  *out = library;
  return CUDA_SUCCESS;
}

CUresult
cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *jit_options,
                      void **jit_values, unsigned n_jit, CUlibraryOption *options,
                      void **values, unsigned n)
{
  char *data = NULL;
  if (!path || !options_ok(options, values, n, true))
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = image_file(path, &data);
  if (!r)
    r = cuLibraryLoadData(out, data, jit_options, jit_values, n_jit, NULL, NULL, 0);
  free(data);
  return r;
}

static void
unload_from(Device *d, CUlibrary library)
{
  pthread_mutex_lock(&d->busy);
  for (Loaded *l = library->loaded; l; l = l->next)
    if (l->context->device == d && find_loaded(d, library, l->context) == l)
      module_free(d, l->module);
  pthread_mutex_unlock(&d->busy);
}

CUresult
cuLibraryUnload(CUlibrary library)
{
  CUresult r = enter_library(library);
  if (r)
    return r;
  CUlibrary *p = &libraries;
  while (*p != library)
    p = &(*p)->next;
  *p = library->next;
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < dev_count(); i++)
    unload_from(dev_get(i), library);
  destroy(library);
  return CUDA_SUCCESS;
}

/* ---- what one has ---- */

CUresult
cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
  CUresult r = kernel && name ? enter_library(library) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  r = CUDA_ERROR_NOT_FOUND;
  for (unsigned i = 0; r && i < library->n; i++)
    if (!strcmp(library->kernels[i].name, name)) {
      *kernel = &library->kernels[i];
      r = CUDA_SUCCESS;
    }
  pthread_mutex_unlock(&lock);
  return r;
}

CUresult
cuLibraryGetKernelCount(unsigned *count, CUlibrary library)
{
  CUresult r = count ? enter_library(library) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  *count = library->n;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult
cuLibraryEnumerateKernels(CUkernel *kernels, unsigned n, CUlibrary library)
{
  CUresult r = kernels ? enter_library(library) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  for (unsigned i = 0; i < n && i < library->n; i++)
    kernels[i] = &library->kernels[i];
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

/* The module that it is in the current context, with the device locked; NULL: r. */
static Device *
enter_module(CUlibrary library, CUmodule *m, CUresult *r)
{
  Device *d = dev_enter(r);
  if (!d)
    return NULL;
  *r = enter_library(library);
  if (!*r) {
    *r = load_in(d, context_current(), library, m);
    pthread_mutex_unlock(&lock);
  }
  if (!*r)
    return d;
  dev_leave(d);
  return NULL;
}

CUresult
cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
  CUresult r;
  CUmodule m;
  Device *d = module ? enter_module(library, &m, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *module = m;
  dev_leave(d);
  return CUDA_SUCCESS;
}

static CUresult
variable(CUdeviceptr *p, size_t *bytes, CUlibrary library, const char *name, bool managed)
{
  CUresult r;
  CUmodule m;
  Device *d = name ? enter_module(library, &m, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  const Var *v = module_variable(m, name);
  bool is = v && v->managed == managed;
  if (is && p)
    *p = v->offset;
  if (is && bytes)
    *bytes = v->bytes;
  dev_leave(d);
  return is ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult
cuLibraryGetGlobal(CUdeviceptr *p, size_t *bytes, CUlibrary library, const char *name)
{
  return variable(p, bytes, library, name, false);
}

CUresult
cuLibraryGetManaged(CUdeviceptr *p, size_t *bytes, CUlibrary library, const char *name)
{
  return variable(p, bytes, library, name, true);
}

/* ---- kernels ---- */

CUresult
cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
  CUresult r;
  CUfunction f;
  Device *d = function ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = library_function(d, context_current(), kernel, &f);
  dev_leave(d);
  if (!r)
    *function = f;
  return r;
}

CUresult
cuKernelGetLibrary(CUlibrary *library, CUkernel kernel)
{
  CUresult r = library ? enter_kernel(kernel) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  *library = kernel->library;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult
cuKernelGetName(const char **name, CUkernel kernel)
{
  CUresult r = name ? enter_kernel(kernel) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  *name = kernel->name;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

/* The function of a kernel on a device: of the current context where it is that device's,
 * else of its primary one. */
static Device *
enter_on(CUkernel kernel, CUdevice device, CUfunction *f, CUresult *r)
{
  Device *d;
  *r = dev_need(device, &d);
  if (*r)
    return NULL;
  CUcontext c = context_current();
  c = c && c->device == d ? c : &d->context;
  d = context_enter(c, r);
  if (!d)
    return NULL;
  *r = library_function(d, c, kernel, f);
  if (!*r)
    return d;
  dev_leave(d);
  return NULL;
}

CUresult
cuKernelGetAttribute(int *value, CUfunction_attribute a, CUkernel kernel, CUdevice device)
{
  CUresult r;
  CUfunction f;
  Device *d =
      value ? enter_on(kernel, device, &f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = function_get(d, f, a, value);
  dev_leave(d);
  return r;
}

CUresult
cuKernelSetAttribute(CUfunction_attribute a, int value, CUkernel kernel, CUdevice device)
{
  CUresult r;
  CUfunction f;
  Device *d = enter_on(kernel, device, &f, &r);
  if (!d)
    return r;
  r = function_set(d, f, a, value);
  dev_leave(d);
  return r;
}

CUresult
cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice device)
{
  CUresult r;
  CUfunction f;
  bool ok = (unsigned)config <= CU_FUNC_CACHE_PREFER_EQUAL;
  Device *d = ok ? enter_on(kernel, device, &f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (d)
    dev_leave(d);
  return r;
}

CUresult
cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *bytes)
{
  CUresult r;
  CUfunction f;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = library_function(d, context_current(), kernel, &f);
  if (!r)
    r = function_param(f, index, offset, bytes);
  dev_leave(d);
  return r;
}
