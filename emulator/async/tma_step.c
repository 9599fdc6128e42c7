/* Boxes of tensors between global and shared memory: what an instruction checks before it
 * hands the copy to the engine, and how the bytes move when it lands. */
#include "emulator/exec/atom.h"
#include "emulator/async/bulk.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"
#include "emulator/async/tma.h"

#include <stdio.h>
#include <string.h>

enum { BOX_ALIGN = 128, BOX_CHUNK = 16, GATHERED = 4, GATHER_RANK = 2 };
_Static_assert(SHARED_BASE % 1024 == 0, "swizzles go by offsets as by addresses");

typedef struct Box { /* the engine keeps it until the copy lands */
  TmaMap map;
  int32_t coord[TMA_RANK];
  uint32_t base; /* offset in shared memory */
  AtomOp op;     /* of a reduction */
} Box;

/* ---- the map ---- */

static Stop
no_map(Exec *x, Warp *w, const Insn *i, int lane, const char *what, uint64_t addr)
{
  return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "tensor-map", lane,
                      "the tensor map at 0x%llx %s", (unsigned long long)addr, what);
}

/* Generic: global, .const, or the window of parameters. */
static Stop
map_bytes(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint8_t *bytes)
{
  uint64_t param = addr - WINDOW_PARAM, size = x->kernel->param_bytes;
  uint8_t *host;
  if (addr % CUDA_TENSOR_MAP_ALIGN)
    return no_map(x, w, i, lane, "is not aligned to 64 bytes", addr);
  if (addr - WINDOW_SHARED < WINDOW_SIZE || addr - WINDOW_LOCAL < WINDOW_SIZE)
    return no_map(x, w, i, lane, "is in shared or local memory", addr);
  if (param < WINDOW_SIZE) {
    if (param > size || size - param < CUDA_TENSOR_MAP_BYTES)
      return no_map(x, w, i, lane, "reaches over the end of the parameters", addr);
    memcpy(bytes, x->launch->params + param, CUDA_TENSOR_MAP_BYTES);
    return GO;
  }
  Stop s = mem_span(x, w, i, lane, addr, CUDA_TENSOR_MAP_BYTES, SHADOW_READ, &host);
  if (s == GO)
    memcpy(bytes, host, CUDA_TENSOR_MAP_BYTES);
  return s;
}

/* CUDA C++ Programming Guide, "Tensor Memory Access": a map in global memory, whoever wrote
 * it, needs a fence in each thread block that uses it, and another when it was changed. */
static void
check_fence(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, const uint8_t *bytes)
{
  const Cta *c = w->cta;
  if (addr - WINDOW_PARAM < WINDOW_SIZE || mem_is_const(x, addr))
    return;
  for (uint32_t n = c->n_fenced; n && n + FENCED_MAPS > c->n_fenced; n--) {
    const FencedMap *f = &c->fenced[(n - 1) % FENCED_MAPS];
    if (f->addr != addr)
      continue;
    if (memcmp(f->bytes, bytes, CUDA_TENSOR_MAP_BYTES))
      report_error(x, w, i, "tensor-map-proxy", lane,
                   "the tensor map at 0x%llx was changed behind the last "
                   "fence.proxy.tensormap of the CTA",
                   (unsigned long long)addr);
    return;
  }
  report_error(x, w, i, "tensor-map-proxy", lane,
               "the tensor map at 0x%llx is in global memory, and the CTA has no "
               "fence.proxy.tensormap for it",
               (unsigned long long)addr);
}

static Stop
no_map_why(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, const uint8_t *bytes)
{
  char why[200], text[240];
  if (!tma_is_wrong(bytes, why, sizeof why))
    return no_map(x, w, i, lane,
                  "is none: cuTensorMapEncodeTiled did not write these bytes", addr);
  snprintf(text, sizeof text, "is wrong since a field was replaced: %s", why);
  return no_map(x, w, i, lane, text, addr);
}

/* PTX ISA, ".tile::gather4, .tile::scatter4": four rows of the box's width, each anywhere.
 */
static Stop
gathers(Exec *x, Warp *w, const Insn *i, int lane, TmaMap *m)
{
  if (m->count[1] != 1)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "tensor-map", lane,
                        "four rows are gathered one by one, and the map's box has %u rows",
                        m->count[1]);
  m->gather = true;
  m->count[1] = GATHERED;
  return GO;
}

static Stop
get_map(Exec *x, Warp *w, const Insn *i, int lane, TmaMap *m)
{
  uint8_t bytes[CUDA_TENSOR_MAP_BYTES];
  uint64_t addr = row64(w, i->b)[lane];
  Stop s = map_bytes(x, w, i, lane, addr, bytes);
  if (s != GO)
    return s;
  if (!tma_decode(m, bytes))
    return no_map_why(x, w, i, lane, addr, bytes);
  check_fence(x, w, i, lane, addr, bytes);
  int rank = i->tma.gathers ? GATHER_RANK : i->tma.rank;
  if (m->rank != rank)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "tensor-map", lane,
                        "a tensor map of rank %d in an instruction of rank %d", m->rank,
                        rank);
  return i->tma.gathers ? gathers(x, w, i, lane, m) : GO;
}

static void
get_coordinates(const Exec *x, const Warp *w, const Insn *i, int lane, Box *b)
{
  const uint32_t *row = x->kernel->lists + i->list;
  for (int k = 0; k < i->tma.rank; k++)
    b->coord[k] = (int32_t)row32(w, row[k])[lane];
}

/* ---- both sides of a copy ---- */

static uint64_t
shared_address(const Warp *w, const Insn *i, int lane)
{
  uint64_t base = i->mem.addr64 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
  return base + (uint64_t)i->imm;
}

/* far: of any CTA of the cluster. */
static Stop
check_shared(Exec *x, Warp *w, const Insn *i, int lane, bool far, Box *b)
{
  Stop s;
  uint64_t addr = shared_address(w, i, lane);
  if (addr % BOX_ALIGN)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "the box's address 0x%llx in shared memory is no multiple of %d",
                        (unsigned long long)addr, BOX_ALIGN);
  cluster_find(x, w, i, lane, addr, far, tma_box_bytes(&b->map), &b->base, &s);
  return s;
}

static Stop
check_global(Exec *x, Warp *w, const Insn *i, int lane, const Box *b, ShadowOp op)
{
  TmaRow row;
  uint8_t *host;
  Stop s = GO;
  x->unit = b->map.elem;
  for (TmaWalk walk = tma_walk(&b->map, b->coord); s == GO && tma_next(&walk, &row);)
    if (row.bytes)
      s = mem_span(x, w, i, lane, row.global, row.bytes, op, &host);
  x->unit = 0;
  return s;
}

static Stop
prepare(Exec *x, Warp *w, const Insn *i, int lane, ShadowOp op, Box *b)
{
  memset(b, 0, sizeof *b);
  Stop s = get_map(x, w, i, lane, &b->map);
  if (s != GO)
    return s;
  get_coordinates(x, w, i, lane, b);
  s = check_shared(x, w, i, lane, op == SHADOW_COPY, b);
  return s == GO ? check_global(x, w, i, lane, b, op) : s;
}

/* ---- reductions ---- */

/* PTX ISA, cp.reduce.async.bulk, by the element type of the map. */
static bool
find_reduction(int sub, const TmaMap *m, AtomOp *op)
{
  bool is_float = tma_type_is_float(m->type);
  bool sign =
      m->type == CU_TENSOR_MAP_DATA_TYPE_INT32 || m->type == CU_TENSOR_MAP_DATA_TYPE_INT64;
  *op = (AtomOp){.sub = (uint8_t)sub, .bytes = m->elem, .sign = sign};
  if (is_float) {
    bool half = m->elem == 2;
    ArType t = m->type == CU_TENSOR_MAP_DATA_TYPE_FLOAT16    ? AR_F16
               : m->type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? AR_BF16
                                                             : AR_F32;
    return m->elem < 8 && (half || sub == A_ADD) && atom_float(op, sub, t, false);
  }
  switch (sub) {
  case A_ADD:
    return m->elem >= 4 && m->type != CU_TENSOR_MAP_DATA_TYPE_INT64;
  case A_INC:
  case A_DEC:
    return m->type == CU_TENSOR_MAP_DATA_TYPE_UINT32;
  default:
    return m->elem >= 4;
  }
}

/* ---- landing ---- */

static void
land_load(Exec *x, Cta *to, const void *box)
{
  const Box *b = box;
  TmaRow row;
  for (TmaWalk walk = tma_walk(&b->map, b->coord); tma_next(&walk, &row);)
    tma_load_row(&b->map, &row, to->shared, b->base,
                 row.bytes ? mem_host(x, row.global) : NULL);
  layout_set(to, b->base, tma_box_bytes(&b->map), b->map.swizzle);
}

static void
land_store(Exec *x, Cta *from, const void *box)
{
  const Box *b = box;
  TmaRow row;
  uint8_t bytes[TMA_ROW];
  for (TmaWalk walk = tma_walk(&b->map, b->coord); tma_next(&walk, &row);) {
    if (!row.bytes)
      continue;
    tma_gather_row(&b->map, &row, from->shared, b->base, bytes);
    if (b->op.bytes)
      atom_reduce(&b->op, mem_host(x, row.global), bytes, row.bytes);
    else
      memcpy(mem_host(x, row.global), bytes, row.bytes);
  }
}

static bool
writes_box(const void *box, uint64_t addr, uint64_t bytes)
{
  const Box *b = box;
  TmaRow row;
  for (TmaWalk walk = tma_walk(&b->map, b->coord); tma_next(&walk, &row);)
    if (row.bytes && addr < row.global + row.bytes && row.global < addr + bytes)
      return true;
  return false;
}

static void
set_range(BulkCopy *c, const Box *b)
{
  TmaRow row;
  c->first = UINT64_MAX;
  for (TmaWalk walk = tma_walk(&b->map, b->coord); tma_next(&walk, &row);) {
    if (!row.bytes)
      continue;
    c->first = row.global < c->first ? row.global : c->first;
    c->end = row.global + row.bytes > c->end ? row.global + row.bytes : c->end;
  }
}

/* ---- the instructions ---- */

static BulkCopy
copy_of(const Insn *i, int lane, const Box *b, Land *land)
{
  return (BulkCopy){.insn = i,
                    .lane = lane,
                    .off = b->base,
                    .bytes = tma_box_bytes(&b->map),
                    .land = land,
                    .data = b,
                    .data_bytes = sizeof *b};
}

static uint64_t
mbar_of(const Warp *w, const Insn *i, int lane)
{
  uint64_t base = i->tma.mbar64 ? row64(w, i->c)[lane] : row32(w, i->c)[lane];
  return base + (uint64_t)i->imm2;
}

static Stop
load_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Box b;
  uint32_t ctas = x->kernel->lists[i->list + i->tma.rank];
  Stop s = prepare(x, w, i, lane, SHADOW_COPY, &b);
  if (s != GO)
    return s;
  BulkCopy c = copy_of(i, lane, &b, land_load);
  if (i->tma.multicast)
    return bulk_multicast(x, w, &c, mbar_of(w, i, lane), row32(w, ctas)[lane] & 0xffff);
  return bulk_load_at(x, w, &c, shared_address(w, i, lane), true, mbar_of(w, i, lane));
}

Stop
step_tma_load(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = load_lane(x, w, i, __builtin_ctz(m));
  return s;
}

/* What lies outside of the tensor is not written, so nobody asks what was there. */
static void
read_inside(Exec *x, Warp *w, const BulkCopy *c, uint32_t number)
{
  const Box *b = c->data;
  TmaRow row;
  for (TmaWalk walk = tma_walk(&b->map, b->coord); tma_next(&walk, &row);)
    for (uint32_t at = row.before, end = at + row.bytes, n; at < end; at += n) {
      n = BOX_CHUNK - at % BOX_CHUNK < end - at ? BOX_CHUNK - at % BOX_CHUNK : end - at;
      bulk_reads(x, w, c, number, tma_swizzle(b->map.swizzle, b->base + row.at + at), n);
    }
}

static Stop
store_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Box b;
  bool reduces = i->tma.op != A_OPS;
  Stop s = prepare(x, w, i, lane, reduces ? SHADOW_ATOMIC : SHADOW_WRITE, &b);
  if (s != GO)
    return s;
  if (reduces && !find_reduction(i->tma.op, &b.map, &b.op))
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "reduce-type", lane,
                        "this reduction has no form for elements of type %s",
                        tma_type_name(b.map.type));
  BulkCopy c = copy_of(i, lane, &b, land_store);
  c.reads = read_inside;
  set_range(&c, &b);
  c.writes = writes_box;
  c.reduces = reduces;
  return bulk_store(x, w, &c);
}

Stop
step_tma_store(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = store_lane(x, w, i, __builtin_ctz(m));
  return s;
}

/* The map must be one; the tensor is not touched. */
Stop
step_tma_prefetch(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  TmaMap map;
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = get_map(x, w, i, __builtin_ctz(m), &map);
  return s;
}

Stop
step_tma_fence(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Cta *c = w->cta;
  for (uint32_t m = mask; m; m &= m - 1) {
    int lane = __builtin_ctz(m);
    FencedMap f = {.addr = row64(w, i->b)[lane] + (uint64_t)i->imm};
    Stop s = map_bytes(x, w, i, lane, f.addr, f.bytes);
    if (s != GO)
      return s;
    c->fenced[c->n_fenced++ % FENCED_MAPS] = f;
  }
  return GO;
}
