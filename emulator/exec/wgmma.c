#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <stdlib.h>
#include <string.h>

/* ---- state of a warp ---- */

Wgmma *
wgmma_new(uint32_t rows, AsyncPolicy policy)
{
  Wgmma *g = calloc(1, sizeof *g);
  if (!g)
    return NULL;
  g->policy = policy;
  g->reg = calloc(rows, sizeof *g->reg);
  g->hold = calloc(rows, LANES * sizeof *g->hold);
  g->log = wgmma_log_new();
  if (g->reg && g->hold && g->log)
    return g;
  wgmma_free(g);
  return NULL;
}

void
wgmma_free(Wgmma *g)
{
  if (!g)
    return;
  free(g->reg);
  free(g->hold);
  free(g->queue);
  wgmma_log_free(g->log);
  free(g);
}

void
wgmma_reset(Wgmma *g, uint32_t rows, uint64_t seed)
{
  g->random = seed * 2 + 1;
  memset(g->reg, 0, rows * sizeof *g->reg);
  g->n = 0;
  g->fences = g->committed = g->waited = 0;
  g->steps = 0;
  wgmma_log_reset(g->log);
}

static uint32_t *
hold(const Wgmma *g, uint32_t row)
{
  return g->hold + (size_t)row * LANES;
}

/* ---- ordinary instructions ---- */

static const char *
name_of(const Exec *x, uint32_t row)
{
  const char *name = x->kernel->row_name[row];
  return name ? name : "a register";
}

static __attribute__((noinline)) void
in_flight(Exec *x, Warp *w, const Insn *i, uint32_t row, const char *what)
{
  bool acc = w->wgmma->reg[row].acc > w->wgmma->waited;
  report_error(x, w, i, acc ? "wgmma-accumulator" : "wgmma-operand", -1,
               "%s is %s while a product in flight %s it: no wgmma.wait_group covers it",
               name_of(x, row), what, acc ? "accumulates in" : "reads");
}

static inline void
reads(Exec *x, Warp *w, Wgmma *g, const Insn *i, uint32_t row)
{
  WgmmaReg *r = &g->reg[row];
  r->touched = g->fences;
  if (r->acc > g->waited)
    in_flight(x, w, i, row, "read");
}

static inline void
writes(Exec *x, Warp *w, Wgmma *g, const Insn *i, uint32_t row)
{
  WgmmaReg *r = &g->reg[row];
  r->touched = r->written = g->fences;
  if (r->acc > g->waited || r->a > g->waited)
    in_flight(x, w, i, row, "written");
}

void
wgmma_touch(Exec *x, Warp *w, const Insn *i)
{
  Wgmma *g = w->wgmma;
  const uint32_t *list = x->kernel->lists + i->list;
  reads(x, w, g, i, i->a);
  reads(x, w, g, i, i->b);
  reads(x, w, g, i, i->c);
  for (int j = i->n_d; j < i->n_d + i->n_s; j++)
    reads(x, w, g, i, list[j]);
  writes(x, w, g, i, i->d);
  for (int j = 0; j < i->n_d; j++)
    writes(x, w, g, i, list[j]);
}

static Warp *
first_of_group(const Warp *w)
{
  return &w->cta->warp[w->id & ~3];
}

/* ---- issue ---- */

/* All lanes, and a warpgroup of four warps. */
static Stop
gather(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO && (w->id | 3) >= w->cta->n_warps)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "wgmma-warpgroup", -1,
                        "the warp's warpgroup has fewer than four warps");
  return s;
}

static Stop
descriptor(Exec *x, Warp *w, const Insn *i, uint32_t row, uint64_t *d)
{
  const uint64_t *v = row64(w, row);
  for (int l = 1; l < LANES; l++)
    if (v[l] != v[0])
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "wgmma-descriptor", l,
                          "the lanes of a warp have different descriptors");
  *d = v[0];
  return GO;
}

static Stop
scale_d(Exec *x, Warp *w, const Insn *i, bool *zero)
{
  uint32_t p = w->pred[i->ps] ^ (i->ps_not ? FULL : 0);
  if (p && p != FULL)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "wgmma-scale", -1,
                        "scale-d holds for lanes %08x alone", p);
  *zero = !p;
  return GO;
}

/* Of n and of k: what may follow on the same accumulators without a fence. */
static uint16_t
shape_of(const WgmmaForm *f)
{
  return (uint16_t)(f->n << 6 | f->k);
}

static void
no_fence(Exec *x, Warp *w, const Insn *i, uint32_t row, const char *what)
{
  report_error(x, w, i, "wgmma-no-fence", -1, "%s %s and no wgmma.fence came since",
               name_of(x, row), what);
}

static void
check_accumulator(Exec *x, Warp *w, const Insn *i, uint32_t row)
{
  const Wgmma *g = w->wgmma;
  const WgmmaReg *r = &g->reg[row];
  if (r->a > g->waited)
    in_flight(x, w, i, row, "an accumulator");
  if (r->touched && r->touched == g->fences)
    no_fence(x, w, i, row, "was read or written");
  else if (r->product && r->product == g->fences && r->shape != shape_of(&i->wgmma))
    no_fence(x, w, i, row, "accumulated a product of another shape");
}

static void
check_a(Exec *x, Warp *w, const Insn *i, uint32_t row)
{
  const Wgmma *g = w->wgmma;
  const WgmmaReg *r = &g->reg[row];
  if (r->acc > g->waited)
    in_flight(x, w, i, row, "an operand");
  if (r->written && r->written == g->fences)
    no_fence(x, w, i, row, "was written");
}

static void
check_registers(Exec *x, Warp *w, const Insn *i)
{
  const uint32_t *list = x->kernel->lists + i->list;
  if (!x->launch->set.checks)
    return;
  if (!w->wgmma->fences)
    report_error(x, w, i, "wgmma-no-fence", -1, "no wgmma.fence came before");
  for (int j = 0; j < i->wgmma.regs; j++)
    check_accumulator(x, w, i, list[j]);
  for (int j = 0; i->wgmma.a_regs && j < 4; j++)
    check_a(x, w, i, list[i->wgmma.regs + j]);
}

/* A quarter of B, which the four warps share, and the warp's rows of A, at 128 bytes a
 * clock. */
static void
count_reads(Exec *x, Warp *w, const Insn *i)
{
  ShadowCount *c = &shadow_counts(w->cta->shadow)[i - x->kernel->code];
  uint64_t lines = (i->wgmma.n + 15u) / 16 + (i->wgmma.a_regs ? 0 : 4);
  c->phases += lines;
  c->ideal += lines;
}

/* Accumulators move to where only products see them. */
static void
take_registers(Exec *x, Warp *w, const Insn *i)
{
  Wgmma *g = w->wgmma;
  const uint32_t *list = x->kernel->lists + i->list;
  uint32_t group = g->committed + 1;
  for (int j = 0; j < i->wgmma.regs; j++) {
    WgmmaReg *r = &g->reg[list[j]];
    if (r->acc <= g->waited) {
      memcpy(hold(g, list[j]), row32(w, list[j]), LANES * 4);
      memset(row32(w, list[j]), 0xff, LANES * 4);
    }
    r->acc = group;
    r->product = g->fences;
    r->shape = shape_of(&i->wgmma);
  }
  for (int j = 0; i->wgmma.a_regs && j < 4; j++)
    g->reg[list[i->wgmma.regs + j]].a = group;
}

static WgmmaOp *
enqueue(Wgmma *g)
{
  if (g->n == g->cap) {
    int cap = g->cap ? 2 * g->cap : 16;
    WgmmaOp *q = realloc(g->queue, (size_t)cap * sizeof *q);
    if (!q)
      return NULL;
    g->queue = q;
    g->cap = cap;
  }
  return &g->queue[g->n++];
}

static bool
lazy(Wgmma *g)
{
  if (g->policy != ASYNC_RANDOM)
    return g->policy == ASYNC_LAZY;
  g->random = g->random * 6364136223846793005u + 1442695040888963407u;
  return g->random >> 63;
}

/* Computes what is not computed of a warp's first n. */
static void
run_queue(Exec *x, Warp *w, int n)
{
  Wgmma *g = w->wgmma;
  for (int j = 0; j < n; j++)
    if (!g->queue[j].done)
      wgmma_run(x, w, &g->queue[j]);
}

/* How many of its products belong to the groups up to this one. */
static int
queued(const Wgmma *g, uint32_t upto)
{
  int n = 0;
  while (n < g->n && g->queue[n].group <= upto)
    n++;
  return n;
}

static Stop
no_memory(Exec *x, Warp *w, const Insn *i)
{
  return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", -1,
                      "the emulator is out of memory");
}

static Stop
agree(Exec *x, Warp *w, const WgmmaOp *op)
{
  return wgmma_agree(x, w, op) ? GO : no_memory(x, w, op->insn);
}

Stop
step_wgmma(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Wgmma *g = w->wgmma;
  WgmmaOp op = {.insn = i, .group = g->committed + 1};
  UndefinedTile a = {.from.insn = -1}, b = a;
  Stop s = gather(x, w, i, mask);
  if (s == GO)
    s = scale_d(x, w, i, &op.zero);
  if (s == GO && !i->wgmma.a_regs)
    s = descriptor(x, w, i, i->a, &op.a);
  if (s == GO)
    s = descriptor(x, w, i, i->b, &op.b);
  if (s == GO)
    s = agree(x, w, &op);
  if (s != GO)
    return s;
  check_registers(x, w, i);
  if (!wgmma_check(x, w, &op, &a, &b))
    return FATAL;
  WgmmaOp *q = enqueue(g);
  if (!q)
    return no_memory(x, w, i);
  *q = op;
  count_reads(x, w, i);
  if (i->wgmma.a_regs)
    undefined_fragment(x, w, i, &a);
  undefined_product(x, w, i, op.zero, &a, &b);
  take_registers(x, w, i);
  if (!lazy(g))
    run_queue(x, w, g->n);
  return GO;
}

/* ---- fences and groups ---- */

static Stop
together(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  return s == GO ? agree(x, w, &(WgmmaOp){.insn = i}) : s;
}

Stop
step_wgmma_fence(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = together(x, w, i, mask);
  if (s == GO)
    w->wgmma->fences++;
  return s;
}

Stop
step_wgmma_commit(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = together(x, w, i, mask);
  if (s != GO)
    return s;
  Warp *first = first_of_group(w);
  w->wgmma->committed++;
  for (int j = 0; j < 4; j++)
    if (first[j].waits_for == WAITS_PRODUCTS)
      first[j].stalled = false;
  return s;
}

/* CUTLASS and FlashAttention-3 take a group to be the warpgroup's: one warp's wait speaks
 * for the other three, and one thread gives a stage of the ring back.  The ISA says no more
 * than that those who wait wait. */
static bool
whole_group(const Warp *w, uint32_t upto)
{
  const Warp *first = first_of_group(w);
  for (int j = 0; j < 4; j++)
    if (first[j].wgmma->committed < upto)
      return false;
  return true;
}

static void
finish(Exec *x, Warp *turn, Warp *w, uint32_t upto)
{
  run_queue(x, w, queued(w->wgmma, upto));
  shadow_wgmma_done(turn->cta->shadow, turn->id, w->id, upto);
}

/* Accumulators that no later group uses come back. */
static void
give_back(Exec *x, Warp *w, const WgmmaOp *op)
{
  Wgmma *g = w->wgmma;
  const uint32_t *list = x->kernel->lists + op->insn->list;
  for (int j = 0; j < op->insn->wgmma.regs; j++) {
    WgmmaReg *r = &g->reg[list[j]];
    if (!r->acc || r->acc > g->waited)
      continue;
    r->acc = 0;
    memcpy(row32(w, list[j]), hold(g, list[j]), LANES * 4);
  }
}

Stop
step_wgmma_wait(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Wgmma *g = w->wgmma;
  bool lax = x->launch->set.lax;
  uint32_t open = (uint32_t)i->imm, upto = g->committed > open ? g->committed - open : 0;
  Stop s = gather(x, w, i, mask);
  if (s == GO && lax && !whole_group(w, upto))
    return exec_block(x, w, i, mask, WAITS_PRODUCTS);
  if (s == GO)
    s = agree(x, w, &(WgmmaOp){.insn = i});
  if (s != GO || upto <= g->waited)
    return s;
  Warp *first = first_of_group(w);
  for (int j = 0; j < 4; j++)
    if (lax || &first[j] == w)
      finish(x, w, &first[j], upto);
  g->waited = upto;
  int n = queued(g, upto);
  for (int j = 0; j < n; j++)
    give_back(x, w, &g->queue[j]);
  g->n -= n;
  memmove(g->queue, g->queue + n, (size_t)g->n * sizeof *g->queue);
  return GO;
}

void
wgmma_end(Exec *x, Cta *c)
{
  if (!x->kernel->wgmma || !x->launch->set.checks)
    return;
  for (int j = 0; j < c->n_warps; j++) {
    const Wgmma *g = c->warp[j].wgmma;
    if (g->n)
      report_error(x, &c->warp[j], g->queue[0].insn, "wgmma-in-flight", -1,
                   "the warp has ended, and no wgmma.wait_group covers this product");
    if (!(j & 3))
      wgmma_agree_end(x, c, j);
  }
}
