/* What a trip through a program's regions executes, per warp: products exactly, the rest
 * as the lowering emits it.  `explain` prints it; a test holds mma against the emulator. */
#include "compiler/tile/tile_prog.h"

static int64_t
values(const Val *v)
{
  switch (v->lay) {
  case LAY_FRAG:
    return (int64_t)val_tiles_m(v) * (val_cols(v) / 8) * 4;
  case LAY_DEALT:
    return (int64_t)val_tiles_m(v) * (val_dealt_cols(v) / 8) * 4;
  case LAY_WARP_ROW:
    return LANE_COLS * lane_groups(v->cols);
  case LAY_ROW:
    return val_row_values(v);
  case LAY_COPY_ROW:
    return val_copy_values(v);
  case LAY_COL:
    return val_col_values(v);
  default:
    return 1;
  }
}

static void
count_product(const Op *op, TileCount *c)
{
  const Val *o = op->out;
  const ProductInfo *p = op->product;
  int m = val_tiles_m(o), cols = val_cols(o), steps = op_steps(op);
  int64_t each = (int64_t)steps * STEP_BYTES / p->depth_bytes;
  if (p->async)
    c->wgmma += each;
  else
    c->mma += m * (cols / p->cols_most) * each;
  if (!(p->right & FROM_SHARED))
    c->ldmatrix += o->narrow ? (steps + 1) / 2 : (int64_t)(round_up(cols, 16) / 16) * steps;
  if (!op->in[1] && !(p->left & FROM_SHARED))
    c->ldmatrix += (int64_t)m * steps;
}

static int64_t
copies(const Program *p, const SmemDecl *d)
{
  if (smem_is_column(d))
    return (d->rows + 32 * p->warps - 1) / (32 * p->warps);
  return (int64_t)d->panels * d->rows / (4 * p->warps);
}

static void count_region(const Program *, const Region *, TileCount *);

/* ---- by kind of operation ---- */

static void
nothing(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  (void)op;
  (void)c;
}

/* Of a branch for PARTIAL tiles: what a FULL one has none of. */
static void
body(const Program *p, const Op *op, TileCount *c)
{
  if (!op->body->rare && (!op->body->partial || c->partial))
    count_region(p, op->body, c);
}

static void
product(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  count_product(op, c);
}

/* Of the right operand two steps of 8 columns are loaded at once. */
static void
dealt(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  int m = val_tiles_m(op->out), n8 = val_dealt_cols(op->out) / 8;
  int64_t steps = op->smem.rows / dtype_in(op->smem.mem->ty, STEP_BYTES);
  c->mma += steps * m * n8 * (STEP_BYTES / op->product->depth_bytes);
  c->ldmatrix += steps * m + steps * n8 / 2;
}

static void
fragments(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->ldmatrix += (int64_t)val_tiles_m(op->out) * val_steps(op->out);
}

static void
producer_load(const Program *p, const Op *op, TileCount *c)
{
  c->cp_async += op->ring->fill == FILL_COPY ? copies(p, &op->ring->mem) : 0;
}

static void
copy(const Program *p, const Op *op, TileCount *c)
{
  c->cp_async += copies(p, op->smem.mem);
}

static void
exp2s(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->ex2 += values(op->out);
}

static void
near_exp2s(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += 12 * values(op->out);
}

static void
one_each(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += values(op->out);
}

static void
three_each(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += 3 * values(op->out);
}

static void
two_each(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += 2 * values(op->out);
}

/* Instructions, of which the special function unit's count fourfold. */
static const int step_costs[] = {
    [STEP_SUM] = 1,  [STEP_PRODUCT] = 1, [STEP_INVERSE] = 4, [STEP_TANH_PART] = 9,
    [STEP_TANH] = 1, [STEP_SIZE] = 4,    [STEP_TILE] = 1,    [STEP_ALONG] = 1,
};

/* What does not move with the tile is computed outside of the loop. */
static void
count_steps(const ExprSteps *s, const Val *x, TileCount *c)
{
  int columns = x->lay == LAY_FRAG ? x->cols / 8 * 2 : 1;
  for (int i = 0; i < s->step.n; i++) {
    const ExprStep *step = &s->step.at[i];
    bool node = step->kind == STEP_NODE;
    int cost = node ? expr_ops[step->e->op].cost : step_costs[step->kind];
    if (!step->used)
      continue;
    if (step->grade == GRADE_BOTH)
      c->fp32 += cost * values(x);
    else if (step->grade == GRADE_COLUMN)
      c->fp32 += cost * columns;
  }
}

static void
score(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  count_steps(op->steps, op->out, c);
}

static void
mask(const Program *p, const Op *op, TileCount *c)
{
  two_each(p, op, c);
  if (op->steps)
    count_steps(op->steps, op->out, c);
}

static void
half_each(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += values(op->in[0]) / 2;
}

static void
row_fold(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += values(op->in[0]);
}

static void
row_allreduce(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->shuffles += 2 * values(op->out);
  c->barriers += op->smem.mem != NULL; /* several warps have the rows */
}

static void
row_max(const Program *p, const Op *op, TileCount *c)
{
  row_fold(p, op, c);
  row_allreduce(p, op, c);
}

static void
row_dot(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += values(op->in[0]);
  c->shuffles += 5;
}

static void
wait(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  bool own = op->ring && p->by_keys; /* a barrier of the warp alone */
  c->barriers += op->pending >= 0 && !own;
}

static void
barrier(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  (void)op;
  c->barriers++;
}

static void
two_barriers(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  (void)op;
  c->barriers += 2;
}

/* Each warp adds up what all have of its columns. */
static void
merge(const Program *p, const Op *op, TileCount *c)
{
  c->barriers++;
  c->fp32 += (p->warps_n - 1) * values(op->out);
}

static void
scan(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->barriers += 3;
  c->shuffles += 11 + 6 * (op->bins->n / BINS_TRIP);
}

/* A product and a sum of each. */
static void
rotate(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += 2 * values(op->out);
}

/* Philox: 40 instructions and four comparisons of three for 16 bytes. */
static void
random_bytes(const Program *p, const Op *op, TileCount *c)
{
  (void)p;
  c->fp32 += (40 + 12) * values(op->out) / 16;
}

typedef void Counting(const Program *, const Op *, TileCount *);

/* Every operation and how it is counted: one that is forgotten does not compile. */
#define COUNTINGS(X)                                                                       \
  X(LOOP, nothing)                                                                         \
  X(SEEK, nothing)                                                                         \
  X(FOR, nothing)                                                                          \
  X(ROLE, nothing)                                                                         \
  X(WARP, nothing)                                                                         \
  X(IF, body)                                                                              \
  X(PRODUCER_LOAD, producer_load)                                                          \
  X(PRODUCER_LEND, nothing)                                                                \
  X(CONSUMER_WAIT, wait)                                                                   \
  X(CONSUMER_PEEK, nothing)                                                                \
  X(CONSUMER_EITHER, nothing)                                                              \
  X(CONSUMER_RELEASE, nothing)                                                             \
  X(STAGE_WORD, nothing)                                                                   \
  X(PAGE_IDS, one_each)                                                                    \
  X(PREFETCH, nothing)                                                                     \
  X(COPY, copy)                                                                            \
  X(COPY_WAIT, wait)                                                                       \
  X(COPY_OUT, barrier)                                                                     \
  X(SEND_OUT, barrier)                                                                     \
  X(OUT_WAIT, nothing)                                                                     \
  X(GRID_WAIT, nothing)                                                                    \
  X(GRID_TRIGGER, nothing)                                                                 \
  X(TICKET, nothing)                                                                       \
  X(SEQUENCE, nothing)                                                                     \
  X(BINS, barrier)                                                                         \
  X(BINS_ADD, nothing)                                                                     \
  X(BINS_SCAN, scan)                                                                       \
  X(BINS_TAKE, nothing)                                                                    \
  X(STORE_WORD, nothing)                                                                   \
  X(SYNC, barrier)                                                                         \
  X(SYNC_ROLE, barrier)                                                                    \
  X(FENCE_ASYNC, nothing)                                                                  \
  X(ORDER_INIT, nothing)                                                                   \
  X(ORDER_WAIT, barrier)                                                                   \
  X(ORDER_ARRIVE, barrier)                                                                 \
  X(WAIT, nothing)                                                                         \
  X(ANY_NOT1, nothing)                                                                     \
  X(ANY_ABS_GT, nothing)                                                                   \
  X(UNSET, nothing)                                                                        \
  X(CONST, nothing)                                                                        \
  X(SCALAR, nothing)                                                                       \
  X(ADD, one_each)                                                                         \
  X(SUB, one_each)                                                                         \
  X(MUL, one_each)                                                                         \
  X(MAX, one_each)                                                                         \
  X(MIN, one_each)                                                                         \
  X(FMA, one_each)                                                                         \
  X(FMS, one_each)                                                                         \
  X(EXP2, exp2s)                                                                           \
  X(EXP2_NEAR, near_exp2s)                                                                 \
  X(RESIDUAL, three_each)                                                                  \
  X(LOG2, one_each)                                                                        \
  X(RCP, one_each)                                                                         \
  X(SELECT_NONZERO, one_each)                                                              \
  X(SELECT_GT, one_each)                                                                   \
  X(SELECT_ABS_GT, one_each)                                                               \
  X(ROW_MAX, row_max)                                                                      \
  X(ROW_THREAD_SUM, row_fold)                                                              \
  X(ROW_ALLREDUCE, row_allreduce)                                                          \
  X(ALLGATHER_COLS, barrier)                                                               \
  X(SHARE_ROWS, barrier)                                                                   \
  X(PEER_ROWS, nothing)                                                                    \
  X(MERGE_COLS, merge)                                                                     \
  X(STORE_PART, nothing)                                                                   \
  X(LOAD_PART, nothing)                                                                    \
  X(ADD_PART, nothing)                                                                     \
  X(LAST, two_barriers)                                                                    \
  X(CONCAT_COLS, nothing)                                                                  \
  X(CVT, half_each)                                                                        \
  X(GET, fragments)                                                                        \
  X(PUT, nothing)                                                                          \
  X(COLS, nothing)                                                                         \
  X(DOT, product)                                                                          \
  X(DOT_ACC, product)                                                                      \
  X(DOT_DEALT, dealt)                                                                      \
  X(REDUCE_OUT, nothing)                                                                   \
  X(LOAD_SUMS, nothing)                                                                    \
  X(SCORE, score)                                                                          \
  X(SINK, one_each)                                                                        \
  X(SLOPE, score)                                                                          \
  X(MASK, mask)                                                                            \
  X(DROP_STATE, nothing)                                                                   \
  X(DROP, random_bytes)                                                                    \
  X(KEEP, one_each)                                                                        \
  X(STORE_KEEP, nothing)                                                                   \
  X(STORE_ROWS, nothing)                                                                   \
  X(STORE_SUMS, nothing)                                                                   \
  X(LOAD_ROWS, one_each)                                                                   \
  X(LOAD, one_each)                                                                        \
  X(LOAD_ROPE, rotate)                                                                     \
  X(LOAD_ONE, one_each)                                                                    \
  X(STORE, nothing)                                                                        \
  X(ROW_DOT, row_dot)

static Counting *const countings[OP_COUNT] = {
#define X(id, count) [OP_##id] = count,
    COUNTINGS(X)
#undef X
};
#define X(id, count) +1
_Static_assert(COUNTINGS(X) == OP_COUNT, "an operation that is not counted");
#undef X

static void
count_region(const Program *p, const Region *r, TileCount *c)
{
  for (const Op *op = r->first; op; op = op->next)
    countings[op->kind](p, op, c);
}

/* Does this body compute, or does it only fetch what another role computes with? */
static bool
computes(const Region *r)
{
  for (const Op *op = r->first; op; op = op->next)
    if (op->out)
      return true;
  return false;
}

/* The first body that computes tiles of the class. */
static const Region *
find_body(const Region *r, TileClass cls)
{
  const Region *found = NULL;
  for (const Op *op = r->first; op && !found; op = op->next)
    if (op->kind == OP_LOOP)
      found = span_has(&op->body->span, cls) && computes(op->body) ? op->body : NULL;
    else if (op->body)
      found = find_body(op->body, cls);
  return found;
}

TileCount
tile_count(const Program *p, int cls)
{
  TileCount c = {.partial = cls != TILE_FULL};
  const Region *r = cls >= 0 ? find_body(p->top, (TileClass)cls) : p->top;
  if (r)
    count_region(p, r, &c);
  return c;
}
