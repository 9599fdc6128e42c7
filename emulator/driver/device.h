/* device.h: emulated devices behind the driver's ABI.
 *
 * Each device has contexts, one fake address space and one mutex, under which its memory is
 * touched and its kernels run: everything has happened when a call returns, and what a
 * stream keeps is who its next work is ordered behind (past.h).  Handles are looked up in
 * the device's lists before they are followed, so that a wrong one is
 * CUDA_ERROR_INVALID_HANDLE and not a crash.  A failed launch does not poison the context.
 */
#ifndef ATTNC_EMULATOR_DEV_H
#define ATTNC_EMULATOR_DEV_H

#include "abi/cuda_graph.h"
#include "emulator/driver/settings.h"
#include "emulator/export.h"
#include "emulator/driver/past.h"

enum { MAX_DEVICES = 8 };

#define X(need, name, args) EXPORT CUresult name args;
CUDA_ENTRY_TABLE(X)
#undef X
#define X(since, name, symbol, args) EXPORT CUresult symbol args;
CUDA_MORE_ENTRY_TABLE(X)
CUDA_STREAM_ENTRY_TABLE(X)
CUDA_GRAPH_ENTRY_TABLE(X)
#undef X

enum { DRIVER_VERSION = 13000, GREATEST_PRIORITY = -5 };
enum { CONTEXT_LIMITS = CU_LIMIT_MAX_L2_FETCH_GRANULARITY + 1 }; /* those that are kept */

struct CUctx_st {
  Device *device;
  int retained; /* 0: it is not there */
  unsigned flags, version;
  uint64_t id;
  size_t limit[CONTEXT_LIMITS];
  CUfunc_cache cache;
  CUcontext next; /* of the created ones */
};

struct CUfunc_st {
  Kernel *kernel;
  struct CUmod_st *module;
};

struct CUmod_st {
  CUcontext owner;
  Arena *arena;
  Ptx ptx;
  struct CUfunc_st *functions;
  int n_functions;
  uint64_t *vars; /* addresses of its .global and .const variables */
  int n_vars;
  struct CUmod_st *next;
};

/* Nodes that come next, and how: of a stream that is captured, of an event in it. */
typedef struct Tips {
  CUgraphNode *node;
  CUgraphEdgeData *edge;
  size_t n;
} Tips;

struct CUstream_st {
  CUcontext owner;
  Past past;   /* of what it was given last */
  bool kernel; /* that was a kernel: the next one may overlap it */
  bool blocking, legacy;
  int priority;
  uint64_t id;
  struct Capture *capture; /* NULL: it executes */
  Tips tips;               /* of the capture */
  struct CUstream_st *next;
};

struct CUevent_st {
  CUcontext owner;
  Past past;
  bool timing, captured; /* captured: recorded last in a stream that was */
  uint64_t capture;      /* its number */
  Tips tips;
  struct CUevent_st *next;
};

struct CUmemPoolHandle_st {
  Device *device;
  bool gone; /* no handle any more; what was taken from it stays */
  int reuse[3];
  uint64_t threshold, used, used_high;
  CUmemAccess_flags access; /* of its own device */
  size_t most;              /* bytes; 0: as many as there are */
  CUmemoryPool next;
};

/* What a launch number was given to. */
typedef struct Issued {
  uint64_t number, module;
  const Kernel *kernel; /* while that module is loaded */
  char who[60];
} Issued;

struct Device {
  int ordinal;
  const Chip *chip;
  struct CUctx_st context;
  pthread_mutex_t busy;
  Alloc *allocs; /* by address */
  int n_allocs, cap_allocs;
  uint64_t next_address, allocated;
  struct CUmemPoolHandle_st pool; /* the default one */
  CUmemoryPool pools, pool_now;   /* created ones; NULL: the default one */
  struct CUmod_st *modules;
  struct CUstream_st *streams;
  struct CUstream_st legacy, per_thread; /* the default streams */
  struct CUevent_st *events;
  struct Capture *captures;
  struct CUgraph_st *graphs;
  struct CUgraphExec_st *execs;
  uint64_t graph_runs;
  ShadowSet issued, over; /* so far; known to be over to the host */
  Issued names[SHADOW_LAUNCHES];
};

/* The device of the current context, locked; NULL: r says why not. */
Device *dev_enter(CUresult *r);
void dev_leave(Device *);
CUresult dev_need(CUdevice ordinal, Device **); /* not locked */
/* A function of the host that a stream has come to: it may not call the driver. */
void dev_call_host(CUhostFn, void *data);
int dev_count(void);
Device *dev_get(int ordinal); /* NULL: there is none */
bool dev_started(void);

/* ---- contexts ---- */
void context_init(CUcontext, Device *);
CUcontext context_current(void); /* of this thread; NULL: none */
/* As dev_enter, of that context; NULL: the current one. */
Device *context_enter(CUcontext, CUresult *r);
void context_fork(ForkStep);

/* ---- memory; the device is locked ---- */
enum { DEV_READ_ONLY = 1, DEV_ZEROS = 2 }; /* zeros: else 0xff, and never written */
CUresult dev_alloc(Device *, uint64_t bytes, unsigned how, uint64_t *address);
/* Memory of the host becomes the device's as well, at the same address. */
CUresult dev_map(Device *, void *host, uint64_t bytes, AllocKind, CUcontext owner);
CUresult dev_free(Device *, uint64_t address);
uint64_t dev_free_bytes(const Device *);
/* n bytes at address are in one allocation: it, else NULL. */
Alloc *dev_find(Device *, uint64_t address, uint64_t n);
void dev_free_all(Device *, CUcontext); /* what it owns */

/* Not locked: the device whose memory is there, NULL: none's. */
Device *dev_of(uint64_t address);

/* ---- memory of the host; no device is locked, but for the first two ---- */
void *host_map(size_t bytes); /* zeros; NULL: out of memory */
void host_unmap(void *, size_t bytes);
CUresult host_free(uint64_t address,
                   AllocKind); /* CUDA_ERROR_INVALID_VALUE: no such block */
void host_free_all(CUcontext);
void host_fork(ForkStep);

/* ---- memory pools; the device is locked ---- */
void pool_freed(CUmemoryPool, uint64_t bytes);

/* ---- streams; the device is locked ---- */
struct Work;
CUstream stream_find(Device *, CUstream); /* of a handle; NULL: there is none */
/* As dev_enter, with the stream of a handle; NULL: no device is locked, r says why. */
CUstream stream_enter(CUstream handle, Device **, CUresult *r);
/* The work is done, or where the stream is captured becomes a node of its graph. */
CUresult stream_do(Device *, CUstream handle, const struct Work *);
/* What the stream's next work is behind. */
void stream_ahead(Device *, CUstream, bool programmatic, Past *);
/* What the host may not do now, in a capture or beside one, is refused, and ends it: the
 * error.  legacy: it uses the legacy stream; unsafe: it may wait, or be waited for. */
CUresult stream_host(Device *, bool legacy, bool unsafe);
/* The stream is there, and executes; else the error. */
CUresult stream_uncaptured(Device *, CUstream handle);
bool event_is(const Device *, CUevent);
/* The host has waited for everything. */
void stream_settle_all(Device *);
void stream_free_all(Device *, CUcontext); /* and its events, captures and graphs */
/* A synchronous copy of the host does it, behind the legacy stream's work. */
CUresult stream_do_now(Device *, const struct Work *);

/* ---- modules; the device is locked ---- */
CUresult module_load(Device *, CUcontext owner, const char *text, struct CUmod_st **,
                     char *log, size_t n);
void module_free(Device *, struct CUmod_st *);
void module_free_all(Device *, CUcontext);
bool module_has(const Device *, const struct CUmod_st *);
bool module_has_function(const Device *, const struct CUfunc_st *);
CUfunction module_function(struct CUmod_st *, const char *name); /* NULL: it has none */
/* A variable in global or constant memory; NULL: it has none of that name. */
const Var *module_variable(const struct CUmod_st *, const char *name);

/* ---- functions; the device is locked ---- */
/* The device, locked, and the function of a handle, which may be a kernel's as well. */
Device *function_enter(CUfunction *, CUresult *r);
CUresult function_get(const Device *, CUfunction, CUfunction_attribute, int *value);
CUresult function_set(const Device *, CUfunction, CUfunction_attribute, int value);
CUresult function_param(CUfunction, size_t index, size_t *offset, size_t *bytes);

/* ---- libraries ---- */
/* The function of a kernel in a context of the locked device, loaded if need be. */
CUresult library_function(Device *, CUcontext, CUkernel, CUfunction *);
void library_fork(ForkStep);

#endif
