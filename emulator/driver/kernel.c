/* Launches of kernels, from the driver's arguments to the grid. */
#include "emulator/driver/work.h"

#include <stdio.h>
#include <string.h>

/* ---- is it legal? ---- */

static bool
dimensions_ok(const uint32_t g[3], const uint32_t b[3])
{
  uint64_t threads = (uint64_t)b[0] * b[1] * b[2];
  return g[0] && g[1] && g[2] && g[0] <= INT32_MAX && g[1] <= 65535 && g[2] <= 65535 &&
         b[0] <= 1024 && b[1] <= 1024 && b[2] <= 64 && threads && threads <= 1024;
}

/* .maxntid bounds the product, .reqntid each axis (PTX ISA, performance directives). */
static bool
threads_ok(const Kernel *k, const uint32_t b[3])
{
  const uint32_t *req = k->ast->reqntid;
  if (req[0] && (b[0] != req[0] || b[1] != req[1] || b[2] != req[2]))
    return false;
  return (int)(b[0] * b[1] * b[2]) <= function_threads(k);
}

static bool
shared_ok(const Chip *c, const Kernel *k, uint32_t dynamic)
{
  uint32_t allowed = (uint32_t)c->smem_block;
  allowed = allowed > k->dynamic_at ? allowed - k->dynamic_at : 0;
  allowed = allowed > k->max_dynamic ? allowed : k->max_dynamic;
  return dynamic <= allowed && k->shared_bytes <= (uint32_t)c->smem_block;
}

/* The launch's own cluster, or the kernel's (PTX ISA, "Cluster dimension directives");
 * size: of the launch, 0: it has none. */
static CUresult
find_cluster(const Chip *c, const KernelWork *w, uint32_t size[3], bool *explicit)
{
  const Kernel *k = w->function->kernel;
  const uint32_t *req = k->ast->cluster;
  *explicit = w->cluster[0] || req[0];
  for (int i = 0; i < 3; i++) {
    if (w->cluster[i] && req[i] && w->cluster[i] != req[i])
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    size[i] = w->cluster[i] ? w->cluster[i] : req[i] ? req[i] : 1;
    if (w->grid[i] % size[i])
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  uint64_t n = (uint64_t)size[0] * size[1] * size[2];
  uint32_t most = k->large_clusters ? MAX_CLUSTER : PORTABLE_CLUSTER;
  most = k->ast->max_rank && k->ast->max_rank < most ? k->ast->max_rank : most;
  if (n > most || (k->ast->explicit_cluster && !*explicit))
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  return n > 1 && c->cc < 90 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

/* All CTAs of a cooperative launch are on the device at once. */
static bool
resident_ok(const Device *d, const KernelWork *w)
{
  int threads = (int)(w->block[0] * w->block[1] * w->block[2]);
  uint64_t fit = (uint64_t)occupancy(d, w->function->kernel, threads, w->dynamic);
  return (uint64_t)w->grid[0] * w->grid[1] * w->grid[2] <= fit * (uint64_t)d->chip->sms;
}

CUresult
kernel_check(Device *d, const KernelWork *w)
{
  uint32_t size[3];
  bool explicit;
  CUfunction f = w->function;
  if (!module_has_function(d, f) || f->kernel->ptx->id != w->module)
    return CUDA_ERROR_INVALID_HANDLE;
  if (!dimensions_ok(w->grid, w->block) || !threads_ok(f->kernel, w->block) ||
      !shared_ok(d->chip, f->kernel, w->dynamic))
    return CUDA_ERROR_INVALID_VALUE;
  if (w->started && (!event_is(d, w->started) || w->started->timing))
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = find_cluster(d->chip, w, size, &explicit);
  if (!r && w->cooperative && !resident_ok(d, w))
    return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  return r;
}

/* ---- the driver's arguments ---- */

typedef CUresult TakeAttribute(const CUlaunchAttributeValue *, KernelWork *);

static CUresult
take_nothing(const CUlaunchAttributeValue *v, KernelWork *w)
{
  (void)v;
  (void)w;
  return CUDA_SUCCESS;
}

static CUresult
take_cooperative(const CUlaunchAttributeValue *v, KernelWork *w)
{
  w->cooperative = v->cooperative != 0;
  return CUDA_SUCCESS;
}

static CUresult
take_cluster(const CUlaunchAttributeValue *v, KernelWork *w)
{
  if (!v->clusterDim.x || !v->clusterDim.y || !v->clusterDim.z)
    return CUDA_ERROR_INVALID_VALUE;
  w->cluster[0] = v->clusterDim.x;
  w->cluster[1] = v->clusterDim.y;
  w->cluster[2] = v->clusterDim.z;
  return CUDA_SUCCESS;
}

static CUresult
take_policy(const CUlaunchAttributeValue *v, KernelWork *w)
{
  (void)w; /* default, spread, load balancing: where CTAs go is nobody's business here */
  return v->clusterSchedulingPolicyPreference < 0 ||
                 v->clusterSchedulingPolicyPreference > 2
             ? CUDA_ERROR_INVALID_VALUE
             : CUDA_SUCCESS;
}

static CUresult
take_programmatic(const CUlaunchAttributeValue *v, KernelWork *w)
{
  w->programmatic = v->programmaticStreamSerializationAllowed != 0;
  return CUDA_SUCCESS;
}

static CUresult
take_priority(const CUlaunchAttributeValue *v, KernelWork *w)
{
  w->priority = v->priority;
  return CUDA_SUCCESS;
}

/* Domains order nothing more loosely than this device does; there are four. */
static CUresult
take_domain(const CUlaunchAttributeValue *v, KernelWork *w)
{
  (void)w;
  return v->memSyncDomain < 0 || v->memSyncDomain > 1 ? CUDA_ERROR_INVALID_VALUE
                                                      : CUDA_SUCCESS;
}

static CUresult
take_domain_map(const CUlaunchAttributeValue *v, KernelWork *w)
{
  (void)w;
  return v->memSyncDomainMap.default_ > 3 || v->memSyncDomainMap.remote > 3
             ? CUDA_ERROR_INVALID_VALUE
             : CUDA_SUCCESS;
}

/* The device always takes the regular clusters, which it may. */
static CUresult
take_preferred(const CUlaunchAttributeValue *v, KernelWork *w)
{
  const uint32_t n[3] = {v->preferredClusterDim.x, v->preferredClusterDim.y,
                         v->preferredClusterDim.z};
  for (int i = 0; i < 3; i++)
    if (!n[i] || w->grid[i] % n[i])
      return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

static CUresult
take_started(const CUlaunchAttributeValue *v, KernelWork *w)
{
  w->started = v->launchCompletionEvent.event;
  return !w->started || v->launchCompletionEvent.flags ? CUDA_ERROR_INVALID_VALUE
                                                       : CUDA_SUCCESS;
}

static CUresult
take_carveout(const CUlaunchAttributeValue *v, KernelWork *w)
{
  (void)w;
  return v->sharedMemCarveout > 100 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* What is not here is refused by its name. */
static TakeAttribute *const take[] = {
    [CU_LAUNCH_ATTRIBUTE_IGNORE] = take_nothing,
    [CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW] = take_nothing, /* of caches: a hint */
    [CU_LAUNCH_ATTRIBUTE_COOPERATIVE] = take_cooperative,
    [CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION] = take_cluster,
    [CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE] = take_policy,
    [CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION] = take_programmatic,
    [CU_LAUNCH_ATTRIBUTE_PRIORITY] = take_priority,
    [CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP] = take_domain_map,
    [CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN] = take_domain,
    [CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION] = take_preferred,
    [CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT] = take_started,
    [CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = take_carveout,
};

static CUresult
refuse_attribute(CUlaunchAttributeID id)
{
  static const char *const names[] = {
#define X(name, value) [value] = #name,
      CUDA_LAUNCH_ATTRIBUTE_TABLE(X)
#undef X
  };
  char line[120], number[24];
  const char *name = id < sizeof names / sizeof *names ? names[id] : NULL;
  snprintf(number, sizeof number, "attribute %d", (int)id);
  snprintf(line, sizeof line, "ptx:0: error[launch-attribute]: %s is not emulated",
           name ? name : number);
  report_line(line);
  return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult
kernel_attribute(CUlaunchAttributeID id, const CUlaunchAttributeValue *v, KernelWork *w)
{
  TakeAttribute *f = id < sizeof take / sizeof *take ? take[id] : NULL;
  return f ? f(v, w) : refuse_attribute(id);
}

static CUresult
read_attributes(const CUlaunchConfig *c, KernelWork *w)
{
  CUresult r = CUDA_SUCCESS;
  if (c->numAttrs && !c->attrs)
    return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < c->numAttrs && !r; i++)
    r = kernel_attribute(c->attrs[i].id, &c->attrs[i].value, w);
  return r;
}

CUresult
kernel_shape(Device *d, CUfunction f, const CUlaunchConfig *c, KernelWork *w)
{
  bool explicit;
  *w = (KernelWork){.function = f,
                    .module = f->kernel->ptx->id,
                    .grid = {c->gridDimX, c->gridDimY, c->gridDimZ},
                    .block = {c->blockDimX, c->blockDimY, c->blockDimZ},
                    .dynamic = c->sharedMemBytes};
  CUresult r = read_attributes(c, w);
  if (!r && !dimensions_ok(w->grid, w->block))
    r = CUDA_ERROR_INVALID_VALUE;
  uint32_t size[3];
  if (r || (r = find_cluster(d->chip, w, size, &explicit)))
    return r;
  if (explicit)
    memcpy(w->cluster, size, sizeof size);
  return CUDA_SUCCESS;
}

/* CU_LAUNCH_PARAM_…: the parameters as one piece of memory. */
enum { EXTRA_END = 0, EXTRA_POINTER = 1, EXTRA_SIZE = 2 };

static bool
copy_extra(const Kernel *k, void **extra, uint8_t *to)
{
  const void *from = NULL;
  size_t n = 0;
  for (; (uintptr_t)*extra != EXTRA_END; extra += 2)
    if ((uintptr_t)*extra == EXTRA_POINTER)
      from = extra[1];
    else if ((uintptr_t)*extra == EXTRA_SIZE && extra[1])
      n = *(const size_t *)extra[1];
    else
      return false;
  if (n < k->param_bytes || (n && !from))
    return false;
  memcpy(to, from, k->param_bytes);
  return true;
}

static bool
copy_params(const Kernel *k, void **params, void **extra, uint8_t *to)
{
  const Ast *a = k->ast;
  if (params && extra)
    return false;
  if (extra)
    return copy_extra(k, extra, to);
  if (a->params.n && !params)
    return false;
  for (int i = 0; i < a->params.n; i++) {
    if (!params[i])
      return false;
    memcpy(to + a->params.at[i]->offset, params[i], a->params.at[i]->bytes);
  }
  return true;
}

CUresult
kernel_work(Device *d, CUfunction f, const CUlaunchConfig *c, void **params, void **extra,
            uint8_t *to, Work *w)
{
  CUresult r = CUDA_SUCCESS;
  if (!module_has_function(d, f))
    r = library_function(d, context_current(), (CUkernel)(void *)f, &f);
  w->type = CU_GRAPH_NODE_TYPE_KERNEL;
  r = r ? r : kernel_shape(d, f, c, &w->kernel);
  if (r)
    return r;
  memset(to, 0, f->kernel->param_bytes);
  w->kernel.params = to;
  w->kernel.param_bytes = f->kernel->param_bytes;
  if (!copy_params(f->kernel, params, extra, to))
    return CUDA_ERROR_INVALID_VALUE;
  return kernel_check(d, &w->kernel);
}

/* ---- it runs ---- */

enum { MAX_STACK = 512 << 10 };

/* Calls whose depth nobody knows have the context's limit besides. */
static uint32_t
local_bytes(const struct CUfunc_st *f)
{
  size_t limit = f->module->owner->limit[CU_LIMIT_STACK_SIZE];
  uint32_t stack = limit < MAX_STACK ? (uint32_t)limit : MAX_STACK;
  return f->kernel->local_bytes + (f->kernel->deep ? (stack + 15) / 16 * 16 : 0);
}

static void
start(Device *d, const KernelWork *w, const Past *ahead, Turn *turn, Launch *l)
{
  Kernel *k = w->function->kernel;
  turn_take(d, ahead, k->name, k, turn);
  *l = (Launch){.kernel = k,
                .device = d,
                .describe = report_describe,
                .variable = report_variable,
                .chip = d->chip,
                .set = settings_get(),
                .dynamic = w->dynamic,
                .local_bytes = local_bytes(w->function),
                .cooperative = w->cooperative,
                .number = turn->number,
                .late = turn->any ? turn->late : NULL,
                .ahead = &turn->ahead,
                .params = w->params,
                .allocs = d->allocs,
                .n_allocs = d->n_allocs};
  memcpy(l->grid, w->grid, sizeof l->grid);
  memcpy(l->block, w->block, sizeof l->block);
  uint32_t threads = l->block[0] * l->block[1] * l->block[2];
  l->per_sm = (uint32_t)occupancy(d, k, (int)threads, l->dynamic);
}

/* An event of its start says what was over by then. */
static void
record_start(const KernelWork *w, const Past *ahead)
{
  if (w->started)
    w->started->past = (Past){ahead->start, ahead->start, ahead->start};
}

/* What the barrier of a whole grid works on, cooperative groups' grid.sync(): two words, of
 * which the second counts arrivals.  Its address is in %envreg1 (high) and %envreg2 (low).
 */
static CUresult
lend_workspace(Device *d, const KernelWork *w, uint64_t *address)
{
  enum { WORKSPACE = 8 };
  CUresult r = w->cooperative ? dev_alloc(d, WORKSPACE, false, address) : CUDA_SUCCESS;
  if (r || !*address)
    return r;
  Alloc *a = dev_find(d, *address, WORKSPACE);
  memset(a->host, 0, WORKSPACE);
  shadow_mem_init(a->shadow, 0, WORKSPACE);
  return CUDA_SUCCESS;
}

CUresult
kernel_run(Device *d, const KernelWork *w, const Past *ahead, Past *done)
{
  Launch l;
  Turn turn;
  uint64_t workspace = 0;
  CUresult r = kernel_check(d, w);
  r = r ? r : lend_workspace(d, w, &workspace);
  if (r)
    return r;
  start(d, w, ahead, &turn, &l);
  l.envreg[1] = (uint32_t)(workspace >> 32);
  l.envreg[2] = (uint32_t)workspace;
  find_cluster(d->chip, w, l.cluster, &l.explicit_cluster);
  r = launch_run(&l);
  if (workspace)
    dev_free(d, workspace);
  *done = past_done(ahead, l.number, l.waited, l.early);
  if (r) /* it is over, and with it what was ahead of it */
    *done = (Past){done->all, done->all, done->all};
  record_start(w, ahead);
  return r;
}

/* ---- entry points ---- */

CUresult
cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra)
{
  _Alignas(PARAM_ALIGN) uint8_t bytes[PARAM_BYTES];
  CUresult r;
  Work w;
  Device *d = c ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = stream_find(d, c->hStream) ? kernel_work(d, f, c, params, extra, bytes, &w)
                                 : CUDA_ERROR_INVALID_HANDLE;
  if (!r)
    r = stream_do(d, c->hStream, &w);
  dev_leave(d);
  return r;
}

CUresult
cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
               unsigned by, unsigned bz, unsigned smem, CUstream stream, void **params,
               void **extra)
{
  const CUlaunchConfig c = {.gridDimX = gx,
                            .gridDimY = gy,
                            .gridDimZ = gz,
                            .blockDimX = bx,
                            .blockDimY = by,
                            .blockDimZ = bz,
                            .sharedMemBytes = smem,
                            .hStream = stream};
  return cuLaunchKernelEx(&c, f, params, extra);
}

CUresult
cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned smem, CUstream stream,
                          void **params)
{
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
  const CUlaunchConfig c = {.gridDimX = gx,
                            .gridDimY = gy,
                            .gridDimZ = gz,
                            .blockDimX = bx,
                            .blockDimY = by,
                            .blockDimZ = bz,
                            .sharedMemBytes = smem,
                            .hStream = stream,
                            .attrs = &a,
                            .numAttrs = 1};
  return cuLaunchKernelEx(&c, f, params, NULL);
}
