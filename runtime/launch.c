#include "runtime/launch.h"

#include "base/call.h"
#include "base/clock.h"
#include "base/err.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- the caller's structs ---- */

/* Scalars beyond what any recipe has are none of a kernel's. */
static attnc_status
take_scalars(LaunchArgs *to, const attnc_args *a, attnc_error *e)
{
  if (a->n_scalars && !a->scalars)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_launch: scalars is NULL");
  for (uint32_t i = 0; i < a->n_scalars; i++)
    if (i < RECIPE_SCALARS)
      to->scalars[i] = a->scalars[i];
    else if (!isnan(a->scalars[i]))
      return err_set(e, ATTNC_ERR_USAGE, "scalar %u is not an argument of this kernel", i);
  to->n_scalars = a->n_scalars < RECIPE_SCALARS ? a->n_scalars : RECIPE_SCALARS;
  return ATTNC_OK;
}

static attnc_status
take_args(LaunchArgs *to, const attnc_args *from, attnc_error *e)
{
  attnc_args a;
  TRY(struct_take(&a, sizeof a, from, SIZE_UPTO(attnc_args, workspace_bytes), "attnc_args",
                  e));
  TRY(sizes_take(&to->sizes, a.sizes, e));
  to->workspace = a.workspace;
  to->workspace_bytes = a.workspace_bytes;
  to->n_tensors = a.n_tensors < RECIPE_SLOTS ? a.n_tensors : RECIPE_SLOTS;
  TRY(tensors_take(to->tensors, to->n_tensors, a.tensors, a.tensor_size, to->n_tensors, e));
  return take_scalars(to, &a, e);
}

/* ---- checks: sizes ---- */

static attnc_status
check_sizes(const Recipe *r, const attnc_sizes *s, attnc_error *e)
{
  const SizeRules rules = {
      .most = r->max_size, .group = r->group_size, .constant = r->sizes};
  TRY(sizes_check(s, &rules, e));
  TRY(sizes_check_had(s, r->tensors, r->n_slots, e));
  return sizes_check_pages(s, r->tensors, r->n_slots, e);
}

/* ---- checks: tensors and scalars ---- */

static attnc_status
check_tensor(const Recipe *r, int slot, LaunchArgs *a, attnc_error *e)
{
  const CallTensor *t = &r->tensors[slot];
  if ((uint32_t)slot >= a->n_tensors)
    return err_set(e, ATTNC_ERR_USAGE, "tensor %s (slot %d) is missing", t->name, slot);
  return tensor_check_call(t, &a->sizes, r->has_strides[slot] ? r->strides[slot] : NULL,
                           &a->tensors[slot], e);
}

/* What a kernel is given: the strides that nothing steps along are 0 then. */
static attnc_status
check_tensors(const Recipe *r, LaunchArgs *a, attnc_error *e)
{
  for (int i = 0; i < r->n_slots; i++)
    if (r->tensors[i].name)
      TRY(check_tensor(r, i, a, e));
  return ATTNC_OK;
}

static double
scalar_of(const LaunchArgs *a, int slot)
{
  return (uint32_t)slot < a->n_scalars ? a->scalars[slot] : NAN;
}

/* Some have no default. */
static attnc_status
check_given(const Recipe *r, const LaunchArgs *a, attnc_error *e)
{
  for (int i = 0; i < RECIPE_SCALARS; i++) {
    const RecipeScalar *s = &r->scalars[i];
    if (s->name && isnan(s->initial) && isnan(scalar_of(a, i)))
      return err_set(e, ATTNC_ERR_USAGE, "scalar %s (slot %d) is missing", s->name, i);
  }
  return ATTNC_OK;
}

/* A value for what the kernel has as a constant must be that constant. */
static attnc_status
check_scalars(const Recipe *r, const LaunchArgs *a, attnc_error *e)
{
  TRY(check_given(r, a, e));
  for (uint32_t i = 0; i < a->n_scalars; i++) {
    double v = a->scalars[i];
    float stored = (float)v; /* what the kernel is given */
    const RecipeScalar *s = &r->scalars[i];
    if (isnan(v))
      continue;
    if (!s->name)
      return err_set(e, ATTNC_ERR_USAGE, "scalar %u is not an argument of this kernel", i);
    TRY(scalar_check(s->name, v, s->bounds, e));
    if (s->fixed && (stored < (float)s->initial || stored > (float)s->initial))
      return err_set(e, ATTNC_ERR_SHAPE, "%s is %g; this kernel is specialised for %g",
                     s->name, v, s->initial);
  }
  return ATTNC_OK;
}

/* ---- workspace ---- */

/* Where the regions lie. */
typedef struct Workspace {
  size_t at[RECIPE_REGIONS], bytes[RECIPE_REGIONS], all;
} Workspace;

static attnc_status
lay_out(const attnc_plan *p, AxisValues *v, Workspace *w, attnc_error *e)
{
  int64_t end = 0, one;
  w->all = 0;
  for (int i = 0; i < p->recipe->n_regions; i++) {
    const RecipeRegion *r = &p->recipe->regions[i];
    int64_t at = 0;
    if (__builtin_add_overflow(end, (int64_t)REGION_ALIGN - 1, &at) ||
        !axis_value(v, &r->bytes, &one) ||
        __builtin_add_overflow(at / REGION_ALIGN * REGION_ALIGN, one, &end))
      return err_set(e, ATTNC_ERR_SHAPE,
                     "the sizes are too large for this kernel: region %s of its workspace",
                     r->name);
    w->at[i] = (size_t)(at / REGION_ALIGN * REGION_ALIGN);
    w->bytes[i] = (size_t)one;
  }
  w->all = (size_t)end;
  return ATTNC_OK;
}

attnc_status
attnc_plan_workspace(const attnc_plan *p, const attnc_sizes *max, size_t *bytes)
{
  const SizeRules rules = {.most = INT64_MAX, .hints = true};
  attnc_sizes n;
  Workspace w;
  if (!p || !bytes)
    return ATTNC_ERR_USAGE;
  TRY(sizes_take(&n, max, NULL));
  TRY(sizes_check(&n, &rules, NULL));
  TRY(sizes_check_had(&n, p->recipe->tensors, p->recipe->n_slots, NULL));
  AxisValues v = axis_values(&n, p->device.sms);
  TRY(lay_out(p, &v, &w, NULL));
  *bytes = w.all;
  return ATTNC_OK;
}

size_t
attnc_plan_zeroed_bytes(const attnc_plan *p)
{
  const attnc_sizes none = {.size = sizeof none}; /* they have a constant size */
  size_t end = 0;
  Workspace w;
  AxisValues v = axis_values(&none, 1);
  if (!p || lay_out(p, &v, &w, NULL) != ATTNC_OK)
    return 0;
  for (int i = 0; i < p->recipe->n_regions; i++)
    if (p->recipe->regions[i].zero)
      end = w.at[i] + w.bytes[i];
  return end;
}

attnc_status
attnc_plan_faults(const attnc_plan *p, const void *workspace, uint32_t *items,
                  attnc_error *e)
{
  if (!p || !items)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_plan_faults: the plan or items is NULL");
  *items = 0;
  if (!p->recipe->n_regions || strcmp(p->recipe->regions[0].name, "faults") != 0)
    return ATTNC_OK;
  if (!workspace)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_plan_faults: workspace is NULL");
  return DRV(p->drv, e, cuMemcpyDtoH_v2, items, (CUdeviceptr)(uintptr_t)workspace,
             sizeof *items);
}

/* A launch for which workspace is wanted and not given, where there is a grid for that. */
static bool
without_workspace(const attnc_plan *p, const LaunchArgs *a)
{
  return p->recipe->runs_without && !a->workspace;
}

static attnc_status
check_workspace(const attnc_plan *p, const LaunchArgs *a, size_t need, attnc_error *e)
{
  if (without_workspace(p, a))
    return ATTNC_OK;
  if (need && (!a->workspace || a->workspace_bytes < need))
    return err_set(e, ATTNC_ERR_USAGE, "a workspace of %zu bytes is needed, %zu are given",
                   need, a->workspace ? a->workspace_bytes : (size_t)0);
  if ((uintptr_t)a->workspace % (uintptr_t)p->recipe->align)
    return err_set(e, ATTNC_ERR_ALIGN, "the workspace is not a multiple of %d bytes",
                   p->recipe->align);
  return ATTNC_OK;
}

/* ---- packing ---- */

/* Largest grid: CUDA programming guide, "Technical Specifications per Compute Capability".
 */
static const int64_t grid_limit[3] = {INT_MAX, 65535, 65535};

static attnc_status
too_many_blocks(const Launch *l, AxisValues *v, const Axis *over, int axis, attnc_error *e)
{
  char text[160];
  axis_text(v, over, text, sizeof text);
  return err_set(e, ATTNC_ERR_SHAPE,
                 "the sizes are too large: %s blocks along %c, and %s takes %lld at most",
                 text, "xyz"[axis], l -> entry, (long long)grid_limit[axis]);
}

static attnc_status
pack_grid(const attnc_plan *p, const Launch *l, const LaunchArgs *a, AxisValues *v, Grid *g,
          attnc_error *e)
{
  const Axis *grid = without_workspace(p, a) && l->runs_without ? l->grid_without : l->grid;
  unsigned *out[3] = {&g->x, &g->y, &g->z};
  for (int i = 0; i < 3; i++) {
    int64_t blocks = 0;
    const Axis *over = axis_above(v, &grid[i], grid_limit[i]);
    if (over)
      return too_many_blocks(l, v, over, i, e);
    axis_value(v, &grid[i], &blocks);
    *out[i] = (unsigned)blocks;
  }
  return ATTNC_OK;
}

static attnc_status
pack_int(const Param *q, int64_t v, Value *out, attnc_error *e)
{
  if (q->type == PARAM_I64) {
    out->i64 = v;
    return ATTNC_OK;
  }
  if (v < INT32_MIN || v > INT32_MAX)
    return err_set(e, ATTNC_ERR_SHAPE, "%s of %lld does not fit the kernel's 32 bits",
                   q->kind == PARAM_SIZE ? size_names[q->size] : "a stride", (long long)v);
  out->i32 = (int32_t)v;
  return ATTNC_OK;
}

static attnc_status
pack_param(const attnc_plan *p, const Param *q, const LaunchArgs *a, const Workspace *w,
           Packed *all, Value *out, attnc_error *e)
{
  double scalar;
  switch (q->kind) {
  case PARAM_TENSOR:
    out->ptr = (CUdeviceptr)(uintptr_t)a->tensors[q->slot].data;
    return ATTNC_OK;
  case PARAM_WORKSPACE:
    out->ptr = (CUdeviceptr)(uintptr_t)a->workspace;
    out->ptr += without_workspace(p, a) ? 0 : w->at[q->region];
    return ATTNC_OK;
  case PARAM_STRIDE:
    return pack_int(q, a->tensors[q->slot].stride[q->dim], out, e);
  case PARAM_SIZE:
    return pack_int(q, size_get(&a->sizes, q->size), out, e);
  case PARAM_SCALAR:
    scalar = scalar_of(a, q->slot);
    out->f32 = (float)(isnan(scalar) ? p->recipe->scalars[q->slot].initial : scalar);
    return ATTNC_OK;
  case PARAM_MAP:
    return launch_map(p, q, a, all, e);
  }
  return ATTNC_ERR_INTERNAL;
}

static attnc_status
pack_memset(const attnc_plan *p, const Memset *m, const LaunchArgs *a, AxisValues *v,
            const Workspace *w, CUdeviceptr *at, size_t *bytes, attnc_error *e)
{
  int64_t n;
  if (!axis_value(v, &m->bytes, &n) || (uint64_t)n > w->bytes[m->region])
    return err_set(e, ATTNC_ERR_INTERNAL, "%s: a memset leaves region %s of the workspace",
                   p->recipe->name, p->recipe->regions[m->region].name);
  *at = (CUdeviceptr)(uintptr_t)a->workspace + w->at[m->region];
  *bytes = (size_t)n;
  return ATTNC_OK;
}

static bool
grid_empty(const Grid *g)
{
  return !g->x || !g->y || !g->z;
}

/* A grid that a cluster does not divide would be a fault of the recipe's axes. */
static attnc_status
check_cluster(const attnc_plan *p, const Launch *l, const Grid *g, attnc_error *e)
{
  if (g->x % l->cluster[0] == 0 && g->y % l->cluster[1] == 0 && g->z % l->cluster[2] == 0)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_INTERNAL,
                 "%s: a grid of %u, %u, %u does not divide into clusters of %u, %u, %u",
                 p->recipe->name, g->x, g->y, g->z, l->cluster[0], l->cluster[1],
                 l->cluster[2]);
}

/* Grids first: where nothing is launched, tensors may be absent. */
static attnc_status
pack_grids(const attnc_plan *p, const LaunchArgs *a, AxisValues *v, Packed *out,
           bool *empty, attnc_error *e)
{
  *empty = true;
  for (int i = 0; i < p->recipe->n_steps; i++) {
    if (!p->recipe->steps[i].is_launch)
      continue;
    const Launch *l = &p->recipe->steps[i].launch;
    TRY(pack_grid(p, l, a, v, &out->grids[i], e));
    TRY(check_cluster(p, l, &out->grids[i], e));
    *empty = *empty && grid_empty(&out->grids[i]);
  }
  return ATTNC_OK;
}

static attnc_status
pack_steps(const attnc_plan *p, const LaunchArgs *a, AxisValues *v, const Workspace *w,
           Packed *out, attnc_error *e)
{
  Value *value = out->values;
  for (int i = 0; i < p->recipe->n_steps; i++) {
    const Step *s = &p->recipe->steps[i];
    if (!s->is_launch)
      TRY(pack_memset(p, &s->memset, a, v, w, &out->memset_at[i], &out->memset_bytes[i],
                      e));
    for (int j = 0; j < s->launch.n_params; j++)
      TRY(pack_param(p, &s->launch.params[j], a, w, out, value++, e));
  }
  return ATTNC_OK;
}

/* gridded: the grids of these sizes are there, and not empty. */
static attnc_status
pack(const attnc_plan *p, LaunchArgs *a, bool gridded, Packed *out, bool *empty,
     attnc_error *e)
{
  Workspace w;
  AxisValues v = axis_values(&a->sizes, p->device.sms);
  if (!gridded) {
    TRY(check_sizes(p->recipe, &a->sizes, e));
    TRY(pack_grids(p, a, &v, out, empty, e));
  }
  TRY(check_scalars(p->recipe, a, e));
  if (*empty)
    return ATTNC_OK;
  TRY(check_tensors(p->recipe, a, e));
  TRY(lay_out(p, &v, &w, e));
  TRY(check_workspace(p, a, w.all, e));
  return pack_steps(p, a, &v, &w, out, e);
}

/* ---- launch states ---- */

size_t
attnc_plan_state_bytes(const attnc_plan *p)
{
  return p ? sizeof(attnc_launch_state) : 0;
}

/* Maps that another plan's recipe shaped are not this one's. */
static void
forget_maps(const attnc_plan *p, Packed *packed)
{
  for (int i = 0; i < p->recipe->n_maps; i++)
    packed->shapes[i].address = NULL;
}

static bool
remembers(const attnc_launch_state *s, const attnc_plan *p, const LaunchArgs *a)
{
  const LaunchArgs *b = &s->args;
  return s->serial == p->serial && b->n_tensors == a->n_tensors &&
         b->n_scalars == a->n_scalars && b->workspace == a->workspace &&
         b->workspace_bytes == a->workspace_bytes &&
         !memcmp(&b->sizes, &a->sizes, sizeof a->sizes) &&
         !memcmp(b->tensors, a->tensors, a->n_tensors * sizeof *a->tensors) &&
         !memcmp(b->scalars, a->scalars, a->n_scalars * sizeof *a->scalars);
}

/* Did the last call have the grids of this one?  They follow from sizes, and from whether
 * there is a workspace. */
static bool
has_grids(const attnc_launch_state *s, const attnc_plan *p, const LaunchArgs *a)
{
  return s->serial == p->serial && !s->args.workspace == !a->workspace &&
         !memcmp(&s->args.sizes, &a->sizes, sizeof a->sizes);
}

static void
remember(attnc_launch_state *s, const attnc_plan *p, const LaunchArgs *a)
{
  LaunchArgs *b = &s->args;
  b->sizes = a->sizes;
  b->workspace = a->workspace;
  b->workspace_bytes = a->workspace_bytes;
  b->n_tensors = a->n_tensors;
  b->n_scalars = a->n_scalars;
  memcpy(b->tensors, a->tensors, a->n_tensors * sizeof *a->tensors);
  memcpy(b->scalars, a->scalars, a->n_scalars * sizeof *a->scalars);
  s->serial = p->serial;
}

/* ---- the launch ---- */

static attnc_status
check_context(const attnc_plan *p, attnc_error *e)
{
  CUcontext current = NULL;
  TRY(DRV(p->drv, e, cuCtxGetCurrent, &current));
  if (current == p->context)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_CONTEXT,
                 "attnc_launch: %s; the plan belongs to the primary context of device %d",
                 current ? "another context is current" : "no context is current",
                 p->device.ordinal);
}

/* With a cluster or serialization, which cuLaunchKernel has no arguments for. */
static attnc_status
launch_extended(const attnc_plan *p, int step, const Grid *g, CUstream stream,
                void **pointers, attnc_error *e)
{
  const Launch *l = &p->recipe->steps[step].launch;
  const unsigned *c = l->cluster;
  CUlaunchAttribute attributes[2];
  CUlaunchConfig config = {g->x,        g->y,      g->z,   l->block[0], l->block[1],
                           l->block[2], l->shared, stream, attributes,  0};
  if (c[0] * c[1] * c[2] != 1)
    attributes[config.numAttrs++] =
        (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                            .value.clusterDim = {c[0], c[1], c[2]}};
  if (l->serialization)
    attributes[config.numAttrs++] =
        (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                            .value.programmaticStreamSerializationAllowed = 1};
  return DRV(p->drv, e, cuLaunchKernelEx, &config, p->functions[step], pointers, NULL);
}

static attnc_status
launch_plain(const attnc_plan *p, int step, const Grid *g, CUstream stream, void **pointers,
             attnc_error *e)
{
  const Launch *l = &p->recipe->steps[step].launch;
  return DRV(p->drv, e, cuLaunchKernel, p->functions[step], g->x, g->y, g->z, l->block[0],
             l->block[1], l->block[2], l->shared, stream, pointers, NULL);
}

static attnc_status
launch_traced(const attnc_plan *p, int step, const Grid *g, CUstream stream,
              void **pointers, attnc_error *e)
{
  const Launch *l = &p->recipe->steps[step].launch;
  const double start = clock_seconds();
  attnc_status status =
      (l->extended ? launch_extended : launch_plain)(p, step, g, stream, pointers, e);
  trace_span(p->trace, "launch", p->recipe->name, l->entry, start);
  return status;
}

LaunchHow *
launch_how(const attnc_plan *p, int step)
{
  return p->trace                                 ? launch_traced
         : p->recipe->steps[step].launch.extended ? launch_extended
                                                  : NULL;
}

static attnc_status
run_launch(const attnc_plan *p, int step, const Packed *packed, const Value *values,
           CUstream stream, attnc_error *e)
{
  const Launch *l = &p->recipe->steps[step].launch;
  const Grid *g = &packed->grids[step];
  void *pointers[RECIPE_PARAMS];
  if (grid_empty(g))
    return ATTNC_OK;
  for (int i = 0; i < l->n_params; i++) /* read only, though not declared so */
    pointers[i] = (void *)(uintptr_t)&values[i];
  for (int i = 0; p->recipe->n_maps && i < l->n_params; i++)
    if (l->params[i].map)
      pointers[i] = (void *)(uintptr_t)&packed->maps[l->params[i].index];
  LaunchHow *how = p->how[step];
  return how ? how(p, step, g, stream, pointers, e)
             : launch_plain(p, step, g, stream, pointers, e);
}

static attnc_status
run(const attnc_plan *p, const Packed *packed, CUstream stream, attnc_error *e)
{
  const Value *values = packed->values;
  for (int i = 0; i < p->recipe->n_steps; i++) {
    const Step *s = &p->recipe->steps[i];
    if (s->is_launch)
      TRY(run_launch(p, i, packed, values, stream, e));
    else if (packed->memset_bytes[i])
      TRY(DRV(p->drv, e, cuMemsetD8Async, packed->memset_at[i], s->memset.value,
              packed->memset_bytes[i], stream));
    values += s->launch.n_params;
  }
  if (p->launched)
    __atomic_add_fetch(p->launched, 1, __ATOMIC_RELAXED);
  return ATTNC_OK;
}

static attnc_status
launch_anew(const attnc_plan *p, LaunchArgs *a, CUstream stream, attnc_error *e)
{
  Packed packed;
  bool empty = false;
  forget_maps(p, &packed);
  TRY(pack(p, a, false, &packed, &empty, e));
  return empty ? ATTNC_OK : run(p, &packed, stream, e);
}

static attnc_status
launch_again(const attnc_plan *p, const LaunchArgs *a, CUstream stream,
             attnc_launch_state *state, attnc_error *e)
{
  bool empty = false;
  if (!remembers(state, p, a)) {
    const bool gridded = has_grids(state, p, a);
    state->serial = 0;
    if (state->encoder != p->serial)
      forget_maps(p, &state->packed);
    state->encoder = p->serial;
    LaunchArgs packed = *a; /* with other strides than the caller's here and there */
    TRY(pack(p, &packed, gridded, &state->packed, &empty, e));
    if (empty)
      return ATTNC_OK;
    remember(state, p, a);
  }
  return run(p, &state->packed, stream, e);
}

attnc_status
attnc_launch(const attnc_plan *p, const attnc_args *args, void *stream,
             attnc_launch_state *state, attnc_error *e)
{
  if (!p)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_launch: the plan is NULL");
  if ((uintptr_t)state % _Alignof(attnc_launch_state))
    return err_set(e, ATTNC_ERR_USAGE, "attnc_launch: the state is not %d-byte aligned",
                   (int)_Alignof(attnc_launch_state));
  LaunchArgs a;
  TRY(take_args(&a, args, e));
  TRY(check_context(p, e));
  return state ? launch_again(p, &a, stream, state, e) : launch_anew(p, &a, stream, e);
}
