#include "runtime/drv.h"

#include "base/env.h"
#include "base/err.h"
#include "base/fork.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEVICES = 64 };

typedef enum State { LOADING, READY, FAILED } State;

/* What the table holds: the public part first, so that a Driver is its Slot. */
typedef struct Slot {
  Driver drv;
  struct Slot *next;
  char *path;
  int refs;
  State state;
  attnc_error error; /* why, when FAILED */
  Device devices[MAX_DEVICES];
} Slot;

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t table_changed = PTHREAD_COND_INITIALIZER;
static Slot *table; /* guarded by table_lock */

/* ---- errors ---- */

static const char *
code_name(const Driver *d, CUresult code)
{
  static const struct {
    CUresult code;
    const char *name;
  } known[] = {
#define X(name, value) {value, #name},
      CUDA_RESULT_TABLE(X)
#undef X
  };
  const char *name = NULL;
  if (d->cuGetErrorName && d->cuGetErrorName(code, &name) == CUDA_SUCCESS && name)
    return name;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].code == code)
      return known[i].name;
  return "unknown error";
}

static attnc_status
code_status(CUresult code)
{
  switch (code) {
  case CUDA_ERROR_NO_DEVICE:
  case CUDA_ERROR_INVALID_DEVICE:
    return ATTNC_ERR_NO_DEVICE;
  case CUDA_ERROR_INVALID_CONTEXT:
    return ATTNC_ERR_CONTEXT;
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
  case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    return ATTNC_ERR_UNSUPPORTED;
  default:
    return ATTNC_ERR_DEVICE;
  }
}

attnc_status
drv_fail(const Driver *d, CUresult code, const char *call, const char *detail,
         attnc_error *e)
{
  const char *name = code_name(d, code), *text = detail && *detail ? detail : NULL;
  if (!text && d->cuGetErrorString)
    d->cuGetErrorString(code, &text);
  if (text && !strcmp(text, name)) /* a driver that has no more to say */
    text = NULL;
  return err_driver(e, code_status(code), code, "%s: %s%s%s", call, name, text ? ": " : "",
                    text ? text : "");
}

/* ---- opening ---- */

static attnc_status
resolve(Driver *d, void *handle, attnc_error *e)
{
  /* POSIX: the object pointer of dlsym is a function pointer; C has no cast for it. */
#define X(need, name, args)                                                                \
  *(void **)&d->name = dlsym(handle, #name);                                               \
  if (need && !d->name)                                                                    \
    return err_set(e, ATTNC_ERR_NO_DEVICE, "%s: has no %s: the driver is too old",         \
                   d->path, #name);
  CUDA_ENTRY_TABLE(X)
#undef X
#define X(name, args) *(void **)&d->name = dlsym(handle, #name);
  CUDA_LOAD_ENTRY_TABLE(X)
#undef X
#define X(type, name, args) *(void **)&d->name = dlsym(handle, #name);
  EMU_ENTRY_TABLE(X)
#undef X
  d->emulated = d->attncEmuConfigure != NULL;
  return ATTNC_OK;
}

static attnc_status
describe(const Driver *d, Device *out, attnc_error *e)
{
  int major = 0, minor = 0;
  const struct {
    CUdevice_attribute which;
    int *value;
  } wanted[] = {
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &out->sms},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &out->smem_block},
  };
  TRY(DRV(d, e, cuDeviceGet, &out->handle, out->ordinal));
  TRY(DRV(d, e, cuDeviceGetName, out->name, (int)sizeof out->name, out->handle));
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    TRY(DRV(d, e, cuDeviceGetAttribute, wanted[i].value, wanted[i].which, out->handle));
  out->cc = major * 10 + minor;
  return ATTNC_OK;
}

static attnc_status
list_devices(Slot *s, attnc_error *e)
{
  Driver *d = &s->drv;
  TRY(DRV(d, e, cuDeviceGetCount, &d->n_devices));
  if (d->n_devices < 1)
    return err_set(e, ATTNC_ERR_NO_DEVICE, "%s: no device", s->path);
  if (d->n_devices > MAX_DEVICES)
    d->n_devices = MAX_DEVICES;
  for (int i = 0; i < d->n_devices; i++) {
    s->devices[i].ordinal = i;
    TRY(describe(d, &s->devices[i], e));
  }
  d->devices = s->devices;
  return ATTNC_OK;
}

static attnc_status
open_library(Driver *d, attnc_error *e)
{
  void *handle = dlopen(d->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle)
    return err_set(e, ATTNC_ERR_NO_DEVICE, "dlopen: %s", dlerror());
  attnc_status status = resolve(d, handle, e);
  dlclose(handle); /* stays mapped: RTLD_NODELETE */
  return status;
}

static attnc_status
load(Slot *s, attnc_error *e)
{
  Driver *d = &s->drv;
  fork_gate_enter();
  attnc_status status = open_library(d, e);
  fork_gate_leave();
  if (status != ATTNC_OK)
    return status;
  TRY(DRV(d, e, cuInit, 0));
  TRY(DRV(d, e, cuDriverGetVersion, &d->version));
  return list_devices(s, e);
}

/* ---- the table ---- */

static Slot *
slot_new(const char *path)
{
  Slot *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->path = strdup(path);
  if (!s->path) {
    free(s);
    return NULL;
  }
  s->drv.path = s->path;
  s->refs = 1;
  return s;
}

static void
unlink_slot(Slot *s)
{
  for (Slot **p = &table; *p; p = &(*p)->next)
    if (*p == s) {
      *p = s->next;
      return;
    }
}

/* With table_lock held. */
static void
drop(Slot *s)
{
  if (--s->refs)
    return;
  unlink_slot(s);
  free(s->path);
  free(s);
}

static Slot *
find(const char *path)
{
  for (Slot *s = table; s; s = s->next)
    if (!strcmp(s->path, path))
      return s;
  return NULL;
}

static void
load_and_tell(Slot *s)
{
  pthread_mutex_unlock(&table_lock);
  attnc_status status = load(s, &s->error);
  pthread_mutex_lock(&table_lock);
  s->state = status == ATTNC_OK ? READY : FAILED;
  if (s->state == FAILED)
    unlink_slot(s); /* the next caller tries anew */
  pthread_cond_broadcast(&table_changed);
}

/* With table_lock held; the slot has a reference more. */
static Slot *
join(const char *path)
{
  Slot *s = find(path);
  if (s) {
    s->refs++;
    while (s->state == LOADING)
      pthread_cond_wait(&table_changed, &table_lock);
    return s;
  }
  s = slot_new(path);
  if (!s)
    return NULL;
  s->next = table;
  table = s;
  load_and_tell(s);
  return s;
}

/* Who was loading a driver is not in the child: there it is as if nobody had begun.  The
 * slot itself is leaked, since what points to it may be half made. */
static void
on_fork(ForkStep step)
{
  for (Slot **p = &table; step == FORK_CHILD && *p;)
    if ((*p)->state == LOADING)
      *p = (*p)->next;
    else
      p = &(*p)->next;
  fork_cond(&table_changed, step);
  fork_mutex(&table_lock, step);
}
FORK_HANDLER(on_fork);

attnc_status
drv_open(const char *path, const Driver **out, attnc_error *e)
{
  attnc_status status = ATTNC_OK;
  if (!path)
    path = env_get(ENV_LIBCUDA);
  if (!path)
    path = env_table[ENV_LIBCUDA].initial;
  pthread_mutex_lock(&table_lock);
  Slot *s = join(path);
  if (s && s->state == FAILED) {
    status = s->error.status;
    if (e)
      *e = s->error;
    drop(s);
  }
  pthread_mutex_unlock(&table_lock);
  if (!s)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", path);
  if (status == ATTNC_OK)
    *out = &s->drv;
  return status;
}

void
drv_retain(const Driver *d)
{
  pthread_mutex_lock(&table_lock);
  ((Slot *)d)->refs++;
  pthread_mutex_unlock(&table_lock);
}

void
drv_close(const Driver *d)
{
  if (!d)
    return;
  pthread_mutex_lock(&table_lock);
  drop((Slot *)d);
  pthread_mutex_unlock(&table_lock);
}

/* ---- devices ---- */

static attnc_status
current_device(const Driver *d, const Device **out, attnc_error *e)
{
  CUcontext context = NULL;
  CUdevice handle = 0;
  TRY(DRV(d, e, cuCtxGetCurrent, &context));
  *out = &d->devices[0];
  if (!context)
    return ATTNC_OK;
  TRY(DRV(d, e, cuCtxGetDevice, &handle));
  for (int i = 0; i < d->n_devices; i++)
    if (d->devices[i].handle == handle) {
      *out = &d->devices[i];
      return ATTNC_OK;
    }
  return err_set(e, ATTNC_ERR_NO_DEVICE, "the current context's device is not listed");
}

attnc_status
drv_device(const Driver *d, int ordinal, const Device **out, attnc_error *e)
{
  if (ordinal < 0)
    return current_device(d, out, e);
  if (ordinal >= d->n_devices)
    return err_set(e, ATTNC_ERR_NO_DEVICE, "no device %d: %s has %d", ordinal, d->path,
                   d->n_devices);
  *out = &d->devices[ordinal];
  return ATTNC_OK;
}
