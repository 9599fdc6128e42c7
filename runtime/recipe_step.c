/* Steps of a recipe: launches with their parameters, memsets of workspace. */
#include "base/err.h"
#include "base/rules.h"
#include "runtime/recipe_read.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Blocks of a cluster that every device of capability 9.0 takes (CUDA programming guide,
 * "Thread Block Clusters"); more has to be asked for. */
enum { MAX_CLUSTER = 8 };

/* ---- parameters ---- */

static attnc_status
param_slot(Reader *rd, json_t *v, Param *p)
{
  int64_t slot = 0;
  TRY(read_int_in(rd, v, "slot", 0, RECIPE_SLOTS - 1, &slot));
  if (!rd->r->tensors[slot].name)
    return read_bad(rd, "no tensor in slot %d", (int)slot);
  p->slot = (int)slot;
  return ATTNC_OK;
}

static attnc_status
param_stride(Reader *rd, json_t *v, Param *p)
{
  int64_t dim = 0;
  TRY(read_array(rd, v, "stride", 2, 2));
  TRY(read_int_in(rd, json_array_get(v, 1), "dim", 0, 4, &dim));
  p->dim = (int)dim;
  return param_slot(rd, json_array_get(v, 0), p);
}

static attnc_status
param_scalar(Reader *rd, json_t *v, Param *p)
{
  int64_t slot = 0;
  TRY(read_int_in(rd, v, "scalar", 0, RECIPE_SCALARS - 1, &slot));
  if (!rd->r->scalars[slot].name || rd->r->scalars[slot].fixed)
    return read_bad(rd, "no scalar in slot %d", (int)slot);
  p->slot = (int)slot;
  return ATTNC_OK;
}

static attnc_status
param_size(Reader *rd, json_t *v, Param *p)
{
  return read_size(rd, v, &p->size);
}

static attnc_status
read_region_number(Reader *rd, json_t *v, int *out)
{
  int64_t region = 0;
  TRY(read_int_in(rd, v, "workspace", 0, RECIPE_REGIONS - 1, &region));
  if (region >= rd->r->n_regions)
    return read_bad(rd, "no region %d of workspace", (int)region);
  *out = (int)region;
  return ATTNC_OK;
}

static attnc_status
param_workspace(Reader *rd, json_t *v, Param *p)
{
  return read_region_number(rd, v, &p->region);
}

static attnc_status
param_map(Reader *rd, json_t *v, Param *p)
{
  TensorMap *map = NEW(rd->r->arena, TensorMap);
  if (!map)
    return read_no_memory(rd);
  if (rd->r->n_maps == RECIPE_MAPS)
    return read_bad(rd, "more than %d tensor maps", RECIPE_MAPS);
  p->type = PARAM_BYTES;
  p->kind = PARAM_MAP;
  p->map = map;
  p->index = rd->r->n_maps++;
  return read_map(rd, v, map);
}

/* Key, kind, reader, types allowed. */
static const struct {
  const char *key;
  ParamKind kind;
  attnc_status (*read)(Reader *, json_t *, Param *);
  unsigned types;
} param_kinds[] = {
    {"tensor", PARAM_TENSOR, param_slot, 1u << PARAM_PTR},
    {"workspace", PARAM_WORKSPACE, param_workspace, 1u << PARAM_PTR},
    {"stride", PARAM_STRIDE, param_stride, 1u << PARAM_I64 | 1u << PARAM_I32},
    {"size", PARAM_SIZE, param_size, 1u << PARAM_I64 | 1u << PARAM_I32},
    {"scalar", PARAM_SCALAR, param_scalar, 1u << PARAM_F32},
};

static attnc_status
read_param(Reader *rd, json_t *v, Param *p)
{
  static const char *const types[] = {"ptr", "i64", "i32", "f32", "map"};
  int type = read_name(json_string_value(json_object_get(v, "type")), types, 5);
  if (type < 0)
    return read_bad(rd, "'type': expected ptr, i64, i32, f32 or map");
  if (type == PARAM_BYTES)
    return param_map(rd, v, p);
  if (json_object_size(v) != 2)
    return read_bad(rd, "expected 'type' and one source");
  p->type = (ParamType)type;
  for (size_t i = 0; i < sizeof param_kinds / sizeof *param_kinds; i++) {
    json_t *of = json_object_get(v, param_kinds[i].key);
    if (!of)
      continue;
    if (!(param_kinds[i].types >> type & 1))
      return read_bad(rd, "'%s' cannot be %s", param_kinds[i].key, types[type]);
    p->kind = param_kinds[i].kind;
    return param_kinds[i].read(rd, of, p);
  }
  return read_bad(rd, "unknown source");
}

static attnc_status
read_params(Reader *rd, json_t *list, int step, Launch *l)
{
  TRY(read_array(rd, list, "params", 0, (size_t)(RECIPE_PARAMS - rd->r->n_params)));
  int n = (int)json_array_size(list);
  Param *params = NEW_N(rd->r->arena, Param, n);
  if (!params)
    return read_no_memory(rd);
  for (int i = 0; i < n; i++) {
    snprintf(rd->at, sizeof rd->at, "steps[%d].launch.params[%d]", step, i);
    TRY(read_param(rd, json_array_get(list, (size_t)i), &params[i]));
  }
  l->params = params;
  l->n_params = n;
  rd->r->n_params += n;
  return ATTNC_OK;
}

/* ---- launches ---- */

static attnc_status
read_block(Reader *rd, json_t *list, const char *what, int64_t hi, unsigned out[3])
{
  int64_t v = 0, all = 1;
  TRY(read_array(rd, list, what, 3, 3));
  for (size_t i = 0; i < 3; i++) {
    TRY(read_int_in(rd, json_array_get(list, i), what, 1, hi, &v));
    out[i] = (unsigned)v;
    all *= v;
  }
  if (all > hi)
    return read_bad(rd, "'%s': more than %d in all", what, (int)hi);
  return ATTNC_OK;
}

static attnc_status
read_grid(Reader *rd, json_t *v, const char *name, Axis *grid)
{
  json_t *list = json_object_get(v, name);
  TRY(read_array(rd, list, name, 3, 3));
  for (size_t i = 0; i < 3; i++)
    TRY(read_axis(rd, json_array_get(list, i), 0, &grid[i]));
  return ATTNC_OK;
}

static attnc_status
read_grids(Reader *rd, json_t *v, Launch *l)
{
  TRY(read_grid(rd, v, "grid", l->grid));
  l->runs_without = json_object_get(v, "grid_without_workspace") != NULL;
  return l->runs_without ? read_grid(rd, v, "grid_without_workspace", l->grid_without)
                         : ATTNC_OK;
}

/* Cluster and serialization, both absent as a rule. */
static attnc_status
read_attributes(Reader *rd, json_t *v, Launch *l)
{
  json_t *cluster = json_object_get(v, "cluster");
  json_t *serialization = json_object_get(v, "serialization");
  l->cluster[0] = l->cluster[1] = l->cluster[2] = 1;
  if (cluster)
    TRY(read_block(rd, cluster, "cluster", MAX_CLUSTER, l->cluster));
  if (serialization && !json_is_boolean(serialization))
    return read_bad(rd, "'serialization': expected true or false");
  l->serialization = json_is_true(serialization);
  l->extended = l->serialization || l->cluster[0] * l->cluster[1] * l->cluster[2] != 1;
  if (l->extended && !rule_has(RULE_CC_CLUSTERS, rd->r->cc))
    return read_bad(rd, "%s has neither clusters nor serialization", rd->r->target);
  return ATTNC_OK;
}

static attnc_status
read_launch(Reader *rd, json_t *v, int step, Launch *l)
{
  static const char *const keys[] = {"entry", "params",  "grid",   "grid_without_workspace",
                                     "block", "cluster", "shared", "serialization",
                                     NULL};
  int shared = 0;
  snprintf(rd->at, sizeof rd->at, "steps[%d].launch", step);
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "entry", &l->entry));
  if (!*l->entry || strlen(l->entry) >= RECIPE_ENTRY)
    return read_bad(rd, "'entry': expected a name");
  TRY(read_grids(rd, v, l));
  TRY(read_block(rd, json_object_get(v, "block"), "block", 1024, l->block));
  TRY(read_attributes(rd, v, l));
  TRY(read_int(rd, v, "shared", 0, INT_MAX, &shared));
  l->shared = (unsigned)shared;
  return read_params(rd, json_object_get(v, "params"), step, l);
}

/* ---- steps ---- */

static attnc_status
read_memset(Reader *rd, json_t *v, int step, Memset *m)
{
  static const char *const keys[] = {"workspace", "bytes", "value", NULL};
  int value = 0;
  snprintf(rd->at, sizeof rd->at, "steps[%d].memset", step);
  TRY(read_object(rd, v, keys));
  TRY(read_region_number(rd, json_object_get(v, "workspace"), &m->region));
  TRY(read_int(rd, v, "value", 0, 255, &value));
  m->value = (unsigned char)value;
  return read_axis(rd, json_object_get(v, "bytes"), 0, &m->bytes);
}

static attnc_status
read_step(Reader *rd, json_t *v, int i, Step *s)
{
  json_t *launch = json_object_get(v, "launch"), *set = json_object_get(v, "memset");
  if (json_object_size(v) != 1 || (!launch && !set))
    return read_bad(rd, "expected launch or memset");
  s->is_launch = launch != NULL;
  return launch ? read_launch(rd, launch, i, &s->launch)
                : read_memset(rd, set, i, &s->memset);
}

static bool
has_workspace(const Launch *l)
{
  for (int i = 0; i < l->n_params; i++)
    if (l->params[i].kind == PARAM_WORKSPACE)
      return true;
  return false;
}

/* Every step or none can do without workspace. */
static attnc_status
check_without(Reader *rd)
{
  int with = 0, without = 0;
  for (int i = 0; i < rd->r->n_steps; i++) {
    const Step *s = &rd->r->steps[i];
    with += !s->is_launch || (has_workspace(&s->launch) && !s->launch.runs_without);
    without += s->launch.runs_without;
  }
  rd->r->runs_without = without > 0;
  if (with && without)
    return read_bad(rd, "steps: some have a grid without workspace and others need some");
  return ATTNC_OK;
}

attnc_status
read_steps(Reader *rd, json_t *list)
{
  TRY(read_array(rd, list, "steps", 1, RECIPE_STEPS));
  rd->r->n_steps = (int)json_array_size(list);
  rd->r->steps = NEW_N(rd->r->arena, Step, rd->r->n_steps);
  if (!rd->r->steps)
    return read_no_memory(rd);
  for (int i = 0; i < rd->r->n_steps; i++) {
    snprintf(rd->at, sizeof rd->at, "steps[%d]", i);
    TRY(read_step(rd, json_array_get(list, (size_t)i), i, &rd->r->steps[i]));
  }
  rd->at[0] = 0;
  return check_without(rd);
}
