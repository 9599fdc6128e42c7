/* The launch recipe: JSON, never code.  JIT, bundles, generated C and bindings all launch
 * from this text; runtime/recipe.c reads it. */
#include "compiler/kernel.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/ptx.h"
#include "compiler/gen.h"
#include "compiler/sched.h"
#include "compiler/spec/signature.h"
#include "compiler/tile/tile_prog.h"

#include <stdio.h>

typedef struct Json {
  Str s;
  const GenRequest *req;
  const Kernel *kernel;
  const Signature *call;
} Json;

static Json
json_new(Arena *a, const GenRequest *req, const Kernel *kernel)
{
  const Signature *call = req->spec->call[req->sched.tmpl->op];
  return (Json){.s = str_new(a), .req = req, .kernel = kernel, .call = call};
}

static void
field(Json *j, const char *name, const char *text)
{
  str_printf(&j->s, "\"%s\":", name);
  str_json(&j->s, text);
  str_put(&j->s, ",");
}

static void
head(Json *j)
{
  const GenRequest *r = j->req;
  char version[32];
  field(j, "schema", "attnc.kernel/3");
  snprintf(version, sizeof version, "%d.%d.%d", ATTNC_VERSION_MAJOR, ATTNC_VERSION_MINOR,
           ATTNC_VERSION_PATCH);
  field(j, "attnc", version);
  field(j, "llvm", gen_llvm_version);
  field(j, "code_id", gen_code_id);
  field(j, "name", r->spec->name);
  field(j, "op", op_words[r->sched.tmpl->op]);
  field(j, "spec", r->spec->canonical);
  field(j, "spec_hash", r->spec->hash);
  field(j, "template", r->sched.tmpl->name);
  Schedule schedule = sched_named(&r->sched);
  str_put(&j->s, "\"schedule\":{");
  sched_list(&j->s, &schedule, true);
  str_put(&j->s, "},");
  field(j, "target", r->target->name);
  str_printf(&j->s, "\"exact\":%s,\"ptx_version\":%d,", r->target->exact ? "true" : "false",
             r->ptx);
}

static void
required_strides(Json *j)
{
  const Signature *call = j->call;
  const char *comma = "";
  str_put(&j->s, ",\"strides\":{");
  for (int i = 0; i < call->n_tensors; i++) {
    const CallTensor *t = &call->tensors[i];
    const int64_t *stride = j->req->problem->tensors[t->slot].stride;
    if (t->contiguous)
      continue;
    str_printf(&j->s, "%s\"%s\":[", comma, t->name);
    for (int d = 0; d < CALL_STRIDES; d++)
      str_printf(&j->s, "%s%lld", d ? "," : "", (long long)stride[d]);
    str_put(&j->s, "]");
    comma = ",";
  }
  str_put(&j->s, "}");
}

static void
requirements(Json *j)
{
  const Spec *s = j->req->spec;
  const char *comma = "";
  str_printf(&j->s, "\"requires\":{\"align\":16,\"max_size\":%lld,\"group_size\":%d",
             (long long)CALL_MAX_SIZE, s->group_size);
  str_put(&j->s, ",\"sizes\":{");
  for (int i = 0; i < SIZE_COUNT; i++) {
    if (!spec_specializes(s, (Specialize)i) ||
        !size_is_had(j->call->tensors, j->call->n_tensors, (SizeId)i))
      continue;
    str_printf(&j->s, "%s\"%s\":%lld", comma, size_names[i],
               (long long)size_get(&j->req->problem->sizes, (SizeId)i));
    comma = ",";
  }
  str_put(&j->s, "}");
  if (spec_specializes(s, SPECIALIZE_STRIDES))
    required_strides(j);
  str_put(&j->s, "},");
}

static const CallTensor *
in_slot(const Json *j, int slot)
{
  for (int i = 0; i < j->call->n_tensors; i++)
    if (j->call->tensors[i].slot == slot)
      return &j->call->tensors[i];
  return NULL; /* no parameter is of a tensor that the call has not */
}

/* Heads or batches; packed: the groups of heads. */
static void
outer_dim(Json *j, const CallTensor *t, int axis, int pack)
{
  SizeId size = pack > 1 ? SIZE_HK : t->axes[axis].size;
  str_printf(&j->s, ",{\"size\":\"%s\",\"stride\":%d", size_names[size], axis);
  if (pack > 1)
    str_printf(&j->s, ",\"times\":%d", pack);
  str_put(&j->s, "}");
}

/* Columns, rows, and whatever axes there are before them: heads, batches. */
static void
map_dims(Json *j, const CallTensor *t, const Param *p)
{
  int pack = map_pack(p), rows = t->n_axes - 2;
  const CallAxis *cols = &t->axes[rows + 1];
  if (cols->n)
    str_printf(&j->s, "{\"n\":%lld}", (long long)cols->n);
  else
    str_printf(&j->s, "{\"size\":\"%s\"}", size_names[cols->size]);
  if (pack > 1)
    str_printf(&j->s, ",{\"n\":%d,\"stride\":%d}", pack, rows - 1);
  str_printf(&j->s, ",{\"size\":\"%s\",\"stride\":%d", size_names[t->axes[rows].size],
             rows);
  if (map_slides(p))
    str_printf(&j->s, ",\"slide\":%d", map_rows(p));
  str_put(&j->s, "}");
  for (int i = rows - 1; i >= 0; i--)
    outer_dim(j, t, i, i == rows - 1 ? pack : 1);
}

/* A box of one panel's columns and so many rows of one head; packed: of the positions and
 * all heads of a group; or one that slides over the rows.  In pages a box has no more rows
 * than divide one. */
static void
map(Json *j, const Param *p)
{
  const CallTensor *t = in_slot(j, p->slot);
  int pack = map_pack(p);
  str_printf(&j->s, "{\"type\":\"map\",\"tensor\":%d,\"dims\":[", p->slot);
  map_dims(j, t, p);
  str_printf(&j->s, "],\"box\":[%d", dtype_in(t->dtype, PANEL_BYTES));
  if (pack > 1)
    str_printf(&j->s, ",%d", pack);
  str_printf(&j->s, ",%d%s", map_rows(p) / pack, map_slides(p) ? ",1" : "");
  for (int i = 0; i < t->n_axes - 2; i++)
    str_put(&j->s, ",1");
  str_put(&j->s, "],\"swizzle\":128,\"l2\":256");
  str_put(&j->s, map_fits_pages(p) ? ",\"fit\":\"page_size\"}" : "}");
}

static void
param(Json *j, const Param *p)
{
  switch (p->kind) {
  case PARAM_MAP:
    map(j, p);
    break;
  case PARAM_TENSOR:
    str_printf(&j->s, "{\"type\":\"ptr\",\"tensor\":%d}", p->slot);
    break;
  case PARAM_STRIDE:
    str_printf(&j->s, "{\"type\":\"i64\",\"stride\":[%d,%d]}", p->slot, p->dim);
    break;
  case PARAM_WORKSPACE:
    str_printf(&j->s, "{\"type\":\"ptr\",\"workspace\":%d}", p->slot);
    break;
  case PARAM_SIZE:
    str_printf(&j->s, "{\"type\":\"i32\",\"size\":\"%s\"}", size_names[p->slot]);
    break;
  default:
    str_printf(&j->s, "{\"type\":\"f32\",\"scalar\":%d}", p->slot);
  }
}

static void
grid(Json *j, const char *name, const Idx *axes)
{
  str_printf(&j->s, "\"%s\":[", name);
  for (int i = 0; i < 3; i++) {
    str_put(&j->s, i ? "," : "");
    recipe_axis(&j->s, axes[i]);
  }
  str_put(&j->s, "],");
}

static void
launch(Json *j, const KernelStep *step)
{
  const Program *p = step->launch;
  str_put(&j->s, "{\"launch\":{");
  field(j, "entry", p->entry);
  str_put(&j->s, "\"params\":[");
  for (int i = 0; i < p->params.n; i++) {
    const Param *x = &p->params.at[i];
    if (x->place < 0)
      continue;
    str_put(&j->s, x->place ? "," : "");
    param(j, x);
  }
  str_put(&j->s, "],");
  grid(j, "grid", p->grid);
  if (p->has_grid_without_workspace)
    grid(j, "grid_without_workspace", p->grid_without_workspace);
  str_printf(&j->s, "\"block\":[%d,1,1],\"cluster\":[%d,1,1],%s\"shared\":%d}}",
             32 * p->warps, p->cluster, p->dependent ? "\"serialization\":true," : "",
             p->smem_bytes);
}

static void
set_memory(Json *j, const KernelStep *step)
{
  str_printf(&j->s, "{\"memset\":{\"workspace\":%d,\"bytes\":", step->region->number);
  recipe_axis(&j->s, step->region->bytes);
  str_printf(&j->s, ",\"value\":%d}}", step->byte & 255);
}

static void
workspace(Json *j)
{
  str_put(&j->s, "\"workspace\":[");
  for (int i = 0; i < j->kernel->regions.n; i++) {
    const WorkRegion *r = j->kernel->regions.at[i];
    str_put(&j->s, i ? ",{" : "{");
    field(j, "name", r->args.name);
    str_put(&j->s, "\"bytes\":");
    recipe_axis(&j->s, r->bytes);
    str_put(&j->s, r->args.zero ? ",\"zero\":true}" : "}");
  }
  str_put(&j->s, "],");
}

static void
steps(Json *j)
{
  str_put(&j->s, "\"steps\":[");
  for (int i = 0; i < j->kernel->steps.n; i++) {
    str_put(&j->s, i ? "," : "");
    if (j->kernel->steps.at[i].launch)
      launch(j, &j->kernel->steps.at[i]);
    else
      set_memory(j, &j->kernel->steps.at[i]);
  }
  str_put(&j->s, "],");
}

/* A warp, per trip through the body of a class, over all entries. */
static void
counts_of(Json *j, const char *name, int cls)
{
  TileCount c = {0};
  for (int i = 0; i < j->kernel->entries.n; i++) {
    TileCount one = tile_count(j->kernel->entries.at[i]->prog, cls);
    c.mma += one.mma;
    c.ldmatrix += one.ldmatrix;
    c.ex2 += one.ex2;
    c.fp32 += one.fp32;
    c.cp_async += one.cp_async;
    c.shuffles += one.shuffles;
    c.barriers += one.barriers;
  }
  str_printf(&j->s,
             "\"%s\":{\"mma\":%lld,\"ldmatrix\":%lld,\"ex2\":%lld,\"fp32\":%lld,"
             "\"cp_async\":%lld,\"shuffles\":%lld,\"barriers\":%lld}",
             name, (long long)c.mma, (long long)c.ldmatrix, (long long)c.ex2,
             (long long)c.fp32, (long long)c.cp_async, (long long)c.shuffles,
             (long long)c.barriers);
}

/* Shared memory: of the entry that has most. */
static void
model(Json *j)
{
  const GenRequest *r = j->req;
  Case c = {.spec = r->spec, .target = r->target};
  SchedCost cost = r->sched.tmpl->cost(&c, &r->sched);
  int smem = 0;
  for (int i = 0; i < j->kernel->entries.n; i++) {
    int one = j->kernel->entries.at[i]->prog->smem_bytes;
    smem = one > smem ? one : smem;
  }
  str_printf(&j->s, "\"model\":{\"smem\":%d,\"regs\":%d,\"blocks_per_sm\":%d},", smem,
             cost.regs, cost.ctas_sm);
  str_put(&j->s, "\"counts\":{");
  counts_of(j, "full", TILE_FULL);
  str_put(&j->s, ",");
  counts_of(j, "partial", TILE_PARTIAL);
  str_put(&j->s, "}");
}

/* ---- the mark ---- */

/* The schedule as --schedule takes it. */
static const char *
how(Arena *a, const Sched *sched)
{
  Str s = str_new(a);
  Schedule named = sched_named(sched);
  sched_write(&s, &named);
  return s.p;
}

/* Over the schedule and everything that the recipe says of a launch but the values of
 * scalars that are run-time arguments.  Not over names, hashes of spec and compiler: a text
 * stays good where they alone change. */
Mark
kernel_mark(Arena *a, const GenRequest *req, const Kernel *kernel)
{
  Mark m = {.how = how(a, &req->sched)};
  Json j = json_new(a, req, kernel);
  field(&j, "schedule", m.how);
  signature_put_tensors(j.call, NULL, &j.s);
  signature_put_scalars(j.call, false, &j.s);
  requirements(&j);
  workspace(&j);
  steps(&j);
  sha256_hex(j.s.p, j.s.n, m.hash);
  return m;
}

static unsigned
param_bytes(const Param *p)
{
  switch (p->kind) {
  case PARAM_SIZE:
  case PARAM_SCALAR:
    return 4;
  case PARAM_MAP:
    return 128;
  case PARAM_TENSOR:
  case PARAM_STRIDE:
  case PARAM_WORKSPACE:
    break;
  }
  return 8;
}

static attnc_status
check_entry(Arena *a, const Program *prog, const PtxPair *pair, attnc_error *e)
{
  unsigned *bytes = NEW_N(a, unsigned, prog->params.n + 1);
  for (int i = 0; i < prog->params.n; i++)
    if (prog->params.at[i].place >= 0)
      bytes[prog->params.at[i].place] = param_bytes(&prog->params.at[i]);
  return ptx_check_entry(pair, prog->entry, bytes, prog->n_places, e);
}

attnc_status
kernel_check(Arena *a, const Kernel *k, const PtxPair *pair, attnc_error *e)
{
  for (int i = 0; i < k->entries.n; i++)
    TRY(check_entry(a, k->entries.at[i]->prog, pair, e));
  return ATTNC_OK;
}

/* ---- the whole ---- */

const char *
kernel_json(Arena *a, const GenRequest *req, const Kernel *kernel, const char *mark,
            const char *ptx, size_t ptx_bytes)
{
  Json j = json_new(a, req, kernel);
  char hash[65];
  sha256_hex(ptx, ptx_bytes, hash);
  str_put(&j.s, "{");
  head(&j);
  str_printf(&j.s, "\"min_driver\":%d,", ptx_driver(req->ptx));
  field(&j, "ptx_sha256", hash);
  field(&j, "mark", mark);
  signature_put_tensors(j.call, NULL, &j.s);
  str_put(&j.s, ",");
  signature_put_scalars(j.call, true, &j.s);
  str_put(&j.s, ",");
  requirements(&j);
  workspace(&j);
  steps(&j);
  model(&j);
  str_put(&j.s, "}");
  return j.s.p;
}
