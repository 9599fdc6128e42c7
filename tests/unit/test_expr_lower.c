/* Expressions in kernels: what the emulator computes of random ones is what the evaluator
 * says, bit for bit where they are of i32 and bool; functions of f32 keep their bounds.
 *
 *   test_expr_lower [--seed N] [--runs N] [--shard I/N] */
#include "tests/unit/expr_random.h"

#include "abi/cuda.h"
#include "compiler/backend.h"
#include "compiler/tile/tile_prog.h"

#include <attnc/attnc_emu.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define X(need, name, args) CUresult name args;
CUDA_ENTRY_TABLE(X)
#undef X
#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static uint64_t seed = 1;
static long runs = 2000, shard, shards = 1;

/* ---- a call by hand ---- */

enum {
  ROWS = 64,
  COLS = 16,
  BATCHES = 2,
  HEADS = 3, /* of keys; query heads where they are not packed */
  PACK = 4,
  ENTRIES = 5, /* of an axis of a table that is no size */
};

typedef struct Case {
  int32_t size[SIZE_COUNT];
  int first_query, first_key, pack;
  void *table[3];
  int64_t elements[3];
  float scalar[2];
} Case;

static const char head[] = "attnc: 1\nname: t\ndtype: fp16\nhead_dim: 16\n"
                           "tensors:\n"
                           "  doc: {dtype: i32, axes: [b, kv]}\n"
                           "  start: {dtype: i32, axes: [q]}\n"
                           "  table: {dtype: fp32, axes: [h, 5]}\n"
                           "scalars: {cap: run_time, gain: 2.5}\n";

static int
query_heads(const Case *c)
{
  return c->pack > 1 ? HEADS * PACK : HEADS;
}

/* Rows and columns of the tables of a call. */
static void
table_shape(const Case *c, int table, int64_t length[2])
{
  length[0] = table == 0 ? BATCHES : table == 1 ? c->size[SIZE_SQ] : query_heads(c);
  length[1] = table == 0 ? c->size[SIZE_SK] : table == 1 ? 1 : ENTRIES;
}

static int64_t
table_pitch(const Case *c, int table)
{
  int64_t length[2];
  table_shape(c, table, length);
  return table == 1 ? 1 : length[1] + 3; /* rows apart */
}

static void
case_open(Case *c, Random *r, bool first)
{
  *c = (Case){.pack = random_below(r, 2) ? PACK : 1};
  c->size[SIZE_SQ] = 1 + random_below(r, 90);
  c->size[SIZE_SK] = first ? 0 : 1 + random_below(r, 90);
  c->first_query = random_below(r, c->size[SIZE_SQ]);
  c->first_key = random_below(r, 1 + c->size[SIZE_SK]);
  c->size[SIZE_B] = BATCHES;
  c->size[SIZE_HK] = HEADS;
  c->size[SIZE_H] = query_heads(c);
  for (int i = 0; i < 2; i++)
    c->scalar[i] = (float)random_below(r, 100) / 8;
  for (int t = 0; t < 3; t++) {
    int64_t length[2];
    table_shape(c, t, length);
    c->elements[t] = length[0] * table_pitch(c, t) + 1;
    int32_t *data = c->table[t] = malloc((size_t)c->elements[t] * 4);
    for (int64_t i = 0; i < c->elements[t]; i++)
      data[i] = random_below(r, 8) ? random_below(r, 40) - 10 : (int32_t)random_next(r);
    for (int64_t i = 0; t == 2 && i < c->elements[t]; i++)
      ((float *)c->table[t])[i] = (float)random_below(r, 100) / 4 - 9;
  }
}

static void
case_close(Case *c)
{
  for (int t = 0; t < 3; t++)
    free(c->table[t]);
}

/* ---- the kernel ---- */

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
  Tensor o;
  Lookup tables[3];
  int64_t step; /* bytes from one expression's results to the next one's */
} Bench;

static Lookup
lookup(Tb *t, int i)
{
  static const char *const names[] = {"doc", "start", "table"};
  static const SizeId by[][2] = {{SIZE_B, SIZE_SK}, {SIZE_SQ, SIZE_SQ}, {SIZE_H, SIZE_H}};
  int slot = ATTNC_SLOT_COUNT + i, n = i == 1 ? 1 : 2;
  Lookup x = {.name = names[i], .slot = slot, .ty = i == 2 ? DT_F32 : DT_I32, .n_axes = n};
  tile_param(t, PARAM_TENSOR, slot, 0);
  x.length[0] = tile_size(t, by[i][0]);
  x.length[1] = i == 2 ? i_int(ENTRIES) : tile_size(t, by[i][1]);
  x.stride[0] = n == 1 ? i_int(1) : tile_stride(t, slot, 0);
  x.stride[1] = i_int(1);
  return x;
}

static void
bench_open(Bench *b, Dtype ty, int cols)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find("sm_80"), 4);
  if (setjmp(b->fail))
    fail_msg("%s", b->err.message);
  b->t->prog->entry = "k";
  b->o = (Tensor){.name = "o", .slot = ATTNC_O, .ty = ty, .cols = cols};
  b->o.rows = i_int(ROWS);
  tile_param(b->t, PARAM_TENSOR, ATTNC_O, 0);
  for (int i = 0; i < 3; i++)
    b->o.stride[i] = tile_stride(b->t, ATTNC_O, i);
  for (int i = 0; i < 3; i++)
    b->tables[i] = lookup(b->t, i);
}

static Idx
cta(Tb *t)
{
  return i_add(i_mul(i_cta(t, 1), HEADS), i_cta(t, 2));
}

static Mods *
mods_of(Bench *b, const attnc_spec *spec)
{
  Tb *t = b->t;
  Mods *m = NEW(b->arena, Mods);
  *m = (Mods){.spec = spec, .sq = tile_size(t, SIZE_SQ), .sk = tile_size(t, SIZE_SK)};
  m->tables = b->tables;
  return m;
}

/* Writes what the spec makes of a tile of zeros, as number i. */
static void
emit_one(Bench *b, const attnc_spec *spec, int i, const Case *c, Smem box)
{
  Tb *t = b->t;
  Mods *m = mods_of(b, spec);
  Mask mask = {.band = spec_band(spec), .sq = m->sq, .sk = m->sk};
  mask.mods = spec->mask_mod.n ? m : NULL;
  At at = {.q = i_int(c->first_query),
           .k = i_int(c->first_key),
           .b = i_cta(t, 1),
           .h = i_cta(t, 2),
           .hk = i_cta(t, 2),
           .pack = c->pack};
  Tile x = t_zero(t, ROWS, COLS);
  x = spec->score_mod.n ? t_score(t, m, x, at) : t_mask(t, &mask, x, at);
  x = t_cvt(t, x, DT_F16);
  t_put(t, box, x);
  View out = v_rows(&b->o, i_int(i), cta(t), i_int(0), ROWS);
  t_copy_out(t, out, box);
}

static char *
ptx_of(Bench *b)
{
  const LlvmModule *m;
  const Program *prog = b->t->prog;
  LlvmRequest q = {.progs = &prog,
                   .n = 1,
                   .target = prog->target,
                   .ptx = 70,
                   .level = 2,
                   .passes =
                       "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)"};
  LlvmResult r;
  tile_plan(b->t);
  if (backend_open(&m, &b->err) != ATTNC_OK || m->compile(&q, &r, &b->err) != ATTNC_OK)
    fail_msg("%s", b->err.message);
  char *text = strdup(r.ptx);
  m->release(&r);
  return text;
}

/* ---- a launch ---- */

static CUdeviceptr
on_device(const void *data, size_t n)
{
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, n));
  OK(cuMemcpyHtoD_v2(p, data, n));
  return p;
}

static int64_t
argument(const Bench *b, const Case *c, const Param *p, const CUdeviceptr *tables,
         CUdeviceptr out)
{
  int table = p->slot - ATTNC_SLOT_COUNT;
  if (p->kind == PARAM_SIZE)
    return c->size[p->slot];
  if (p->kind == PARAM_TENSOR)
    return (int64_t)(table < 0 ? out : tables[table]);
  if (p->kind == PARAM_STRIDE && table >= 0)
    return table_pitch(c, table);
  if (p->kind == PARAM_SCALAR) {
    int32_t bits;
    const float one = 1; /* softmax_scale */
    int own = p->slot - ATTNC_SCALAR_COUNT;
    memcpy(&bits, own < 0 ? &one : &c->scalar[own], 4);
    return bits;
  }
  int cols = b->o.cols;
  const int64_t stride[] = {(int64_t)BATCHES * HEADS * ROWS * cols, (int64_t)ROWS * cols,
                            cols};
  return stride[p->dim];
}

static CUfunction
function(const char *ptx, CUmodule *m)
{
  static char log[2000];
  CUfunction f;
  CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *v[] = {log, (void *)sizeof log};
  if (cuModuleLoadDataEx(m, ptx, 2, o, v))
    fail_msg("%s", log);
  OK(cuModuleGetFunction(&f, *m, "k"));
  return f;
}

static void
no_findings(void)
{
  static char text[65536];
  attncEmuTakeFindings(text, sizeof text);
  if (*text)
    fail_msg("%s", text);
}

static void
start(void)
{
  CUcontext context;
  char why[200] = "";
  if (attncEmuConfigure("arch=sm_80", why, sizeof why))
    fail_msg("%s", why);
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
}

/* Fills `out`: by expression, CTA, row, column. */
static void
launch(Bench *b, const Case *c, unsigned ctas, void *out, size_t bytes)
{
  CUmodule m;
  CUdeviceptr to = on_device(out, bytes), tables[3];
  int64_t values[64];
  void *args[64];
  char *ptx = ptx_of(b);
  CUfunction f = function(ptx, &m);
  const Program *prog = b->t->prog;
  for (int i = 0; i < 3; i++)
    tables[i] = on_device(c->table[i], (size_t)c->elements[i] * 4);
  for (int i = 0; i < prog->params.n; i++) {
    const Param *p = &prog->params.at[i];
    values[p->place] = argument(b, c, p, tables, to);
    args[p->place] = &values[p->place];
  }
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                        prog->smem_bytes));
  CUresult ran = cuLaunchKernel(f, ctas, BATCHES, HEADS, 128, 1, 1,
                                (unsigned)prog->smem_bytes, NULL, args, NULL);
  no_findings();
  OK(ran);
  OK(cuMemcpyDtoH_v2(out, to, bytes));
  OK(cuMemFree_v2(to));
  for (int i = 0; i < 3; i++)
    OK(cuMemFree_v2(tables[i]));
  OK(cuModuleUnload(m));
  free(ptx);
}

/* ---- what is expected ---- */

static ExprValue
element(const void *user, int tensor, const void *data, int64_t at)
{
  (void)user;
  return tensor == 2 ? (ExprValue){.f = (double)((const float *)data)[at]}
                     : (ExprValue){.i = ((const int32_t *)data)[at]};
}

typedef struct Expected {
  ExprInput in;
  ExprTable tables[3];
  double scalars[2];
} Expected;

static void
expect(Expected *e, const Case *c, int which, int row, int col)
{
  ExprInput *in = &e->in;
  int pack = c->pack, h = which % HEADS;
  *in = (ExprInput){.scalars = e->scalars, .tables = e->tables, .element = element};
  in->var[EXPR_Q_IDX] = c->first_query + row / pack;
  in->var[EXPR_KV_IDX] = c->first_key + col;
  in->var[EXPR_SQ] = c->size[SIZE_SQ];
  in->var[EXPR_SK] = c->size[SIZE_SK];
  in->var[EXPR_B] = which / HEADS;
  in->var[EXPR_H] = pack > 1 ? h * pack + row % pack : h;
  in->var[EXPR_HK] = h;
  for (int i = 0; i < 2; i++)
    e->scalars[i] = (double)c->scalar[i];
  for (int t = 0; t < 3; t++) {
    table_shape(c, t, e->tables[t].length);
    e->tables[t].data = c->table[t];
    e->tables[t].stride[0] = table_pitch(c, t);
    e->tables[t].stride[1] = 1;
  }
}

static bool
exists(const Expected *e)
{
  const int32_t *v = e->in.var;
  return v[EXPR_Q_IDX] < v[EXPR_SQ] && v[EXPR_KV_IDX] < v[EXPR_SK];
}

/* ---- random expressions ---- */

/* An i32 is written in pieces that fp16 holds. */
enum { BITS = 11, PIECES = 3, MOST = 48 };

static int
piece(int32_t x, int i)
{
  return (x < 0 ? ~(~x >> BITS * i) : x >> BITS * i) & ((1 << BITS) - 1);
}

typedef struct Batch {
  Arena *arena;
  ExprGraph *g;
  attnc_spec *spec[MOST];
  const Expr *e[MOST];
  int piece[MOST]; /* −1: a mask */
  int n;
} Batch;

static void
add_spec(Batch *b, const Expr *e, int part)
{
  attnc_spec *spec;
  attnc_diags *faults;
  Str s = str_new(b->arena), text = str_new(b->arena);
  expr_print(b->g, e, &s);
  str_put(&text, head);
  if (part < 0)
    str_printf(&text, "mask_mod: \"%s\"\n", s.p);
  else
    str_printf(&text,
               "score_mod: [\"score + 3\", \"f32(((%s) >> %d) & 0x7ff) + score - 3\"]\n",
               s.p, BITS * part);
  assert_int_equal(attnc_diags_create(&faults), ATTNC_OK);
  bool loaded = attnc_spec_load(text.p, text.n, "t", &spec, faults) == ATTNC_OK;
  const char *why = loaded ? "" : attnc_diags_get(faults, 0)->message;
  if (!loaded && !strstr(why, "normal form")) /* which may be too long */
    fail_msg("%s\n%s", text.p, why);
  attnc_diags_release(faults);
  if (!loaded)
    return;
  if (!spec_has_expressions(spec)) { /* it is known, or a band */
    attnc_spec_release(spec);
    return;
  }
  b->spec[b->n] = spec;
  b->e[b->n] = e;
  b->piece[b->n++] = part;
}

static void
fill(Batch *b, Random *r, int n)
{
  for (int i = 0; i < n; i++) {
    ExprType type = i % 2 ? EXPR_BOOL : EXPR_I32;
    int depth = 2 + random_below(r, 5);
    const Expr *e = i % 4 == 1 ? random_affine(r, b->g, depth - 1)
                               : random_expr(r, b->g, type, depth, false);
    if (type == EXPR_BOOL)
      add_spec(b, e, -1);
    for (int p = 0; type == EXPR_I32 && p < PIECES; p++)
      add_spec(b, e, p);
  }
}

static float
float_of_half(uint16_t h)
{
  if ((h & 0x7c00) == 0x7c00)
    return h & 0x3ff ? NAN : h & 0x8000 ? -INFINITY : INFINITY;
  float f = ldexpf((float)(h & 0x3ff) + (h & 0x7c00 ? 1024 : 0),
                   (h >> 10 & 31 ? h >> 10 & 31 : 1) - 25);
  return h & 0x8000 ? -f : f;
}

static void
compare(const Batch *b, const Case *c, const uint16_t *out)
{
  Arena *scratch = arena_new(0);
  for (int i = 0; i < b->n; i++) {
    ExprList list = expr_list(b->g, &b->e[i], 1, scratch);
    ExprValue *values = NEW_N(scratch, ExprValue, list.n);
    for (int k = 0; k < BATCHES * HEADS * ROWS * COLS; k++) {
      Expected x;
      int row = k / COLS % ROWS, col = k % COLS, which = k / COLS / ROWS;
      expect(&x, c, which, row, col);
      if (!exists(&x))
        continue;
      expr_eval_list(&list, &x.in, values);
      int32_t v = values[list.n - 1].i;
      float want = b->piece[i] < 0 ? (v ? 0 : -INFINITY) : (float)piece(v, b->piece[i]);
      float got = float_of_half(out[(size_t)i * BATCHES * HEADS * ROWS * COLS + (size_t)k]);
      if (got != want) {
        Str s = str_new(scratch);
        expr_print(b->g, b->e[i], &s);
        fail_msg("%s\npiece %d at b %d h %d q %d kv %d, sq %d sk %d pack %d: %g, not %g "
                 "(%d)",
                 s.p, b->piece[i], x.in.var[EXPR_B], x.in.var[EXPR_H], x.in.var[EXPR_Q_IDX],
                 x.in.var[EXPR_KV_IDX], x.in.var[EXPR_SQ], x.in.var[EXPR_SK], c->pack,
                 (double)got, (double)want, v);
      }
    }
  }
  arena_free(scratch);
}

static void
one_kernel(Random *r, int n, bool first)
{
  Bench bench;
  Case c;
  Batch b = {.arena = arena_new(0)};
  r->whole = true;
  b.g = expr_graph(b.arena, &random_names);
  case_open(&c, r, first);
  fill(&b, r, n);
  bench_open(&bench, DT_F16, COLS);
  if (setjmp(bench.fail))
    fail_msg("%s", bench.err.message);
  Smem box[2]; /* one is copied out while the other is written */
  for (int i = 0; i < 2; i++)
    box[i] = t_smem(bench.t, i ? "odd" : "even", DT_F16, ROWS, COLS);
  for (int i = 0; i < b.n; i++)
    emit_one(&bench, b.spec[i], i, &c, box[i % 2]);
  size_t bytes = (size_t)b.n * BATCHES * HEADS * ROWS * COLS * sizeof(uint16_t);
  uint16_t *out = calloc(1, bytes);
  launch(&bench, &c, 1, out, bytes);
  compare(&b, &c, out);
  free(out);
  for (int i = 0; i < b.n; i++)
    attnc_spec_release(b.spec[i]);
  case_close(&c);
  arena_free(bench.arena);
  arena_free(b.arena);
}

enum { TOGETHER = 16 }; /* expressions of a kernel */

static void
random_ones_are_what_the_evaluator_says(void **state)
{
  (void)state;
  for (long i = shard; i * TOGETHER < runs; i += shards) {
    Random r = {.seed = seed + (uint64_t)i};
    one_kernel(&r, TOGETHER, i % 10 == 0);
  }
}

/* ---- functions of f32 ---- */

enum { INPUTS = BATCHES * HEADS * ROWS }; /* the step from one function to the next */

typedef struct Bound {
  const char *text; /* of x */
  double (*right)(double);
  double relative, by_size, absolute; /* by_size: of |x| times the value */
} Bound;

static double
third(double x)
{
  return x / 3;
}
static double
inverse(double x)
{
  return 1 / x;
}
static double
sigmoid(double x)
{
  return 1 / (1 + exp(-x));
}
static double
relu(double x)
{
  return fmax(x, 0);
}
static double
whole(double x)
{
  return isnan(x) ? 0 : x >= 0x1p31 ? 0x1p31 : x < -0x1p31 ? -0x1p31 : trunc(x);
}

/* docs/expressions.md has these. */
static const Bound bounds[] = {
    {"x / 3", third, 0x1p-23, 0, 0},
    {"1 / x", inverse, 0x1p-22, 0, 0},
    {"exp(x)", exp, 0x1p-21, 0x1p-23, 0},
    {"exp2(x)", exp2, 0x1p-21, 0, 0},
    {"log2(x)", log2, 0x1p-22, 0, 0x1p-22},
    {"tanh(x)", tanh, 0, 0, 0x1p-21},
    {"sigmoid(x)", sigmoid, 0x1p-21, 0x1p-23, 0},
    {"sqrt(x)", sqrt, 0x1p-22, 0, 0},
    {"relu(x)", relu, 0, 0, 0},
    {"floor(x)", floor, 0, 0, 0},
    {"f32(i32(x))", whole, 0, 0, 0},
    {"abs(-x)", fabs, 0, 0, 0},
};
enum { FUNCTIONS = sizeof bounds / sizeof *bounds };
static const double NEAR = 0x1p-21; /* of kernels of fp32, of the value or, log2, of 1 */

static float
input(Random *r, int i)
{
  static const float edges[] = {0,
                                -0.0f,
                                1,
                                -1,
                                INFINITY,
                                -INFINITY,
                                NAN,
                                0x1p-126f,
                                0x1p126f,
                                0x1p127f,
                                3e38f,
                                -3e38f,
                                87.3f,
                                -87.3f,
                                88.8f,
                                -104,
                                128,
                                127.99f,
                                -126,
                                0.6f,
                                -0.6f,
                                1e-4f,
                                1.0001f,
                                0.9999f,
                                9.5f,
                                -9.5f,
                                0.25f,
                                2147483648.0f,
                                -2147483648.0f};
  if (i < (int)(sizeof edges / sizeof *edges))
    return edges[i];
  float size = ldexpf(1, random_below(r, 14) - 7);
  float x = size * (float)((double)(random_next(r) >> 11) * 0x1p-53);
  return random_below(r, 2) ? x : -x;
}

static double
flushed(double x)
{
  return fabs(x) < 0x1p-126 ? 0 : fabs(x) > 0x1.fffffep127 ? copysign(INFINITY, x) : x;
}

static void
judge(const Bound *f, bool near, double x, double got)
{
  double want = flushed(f->right(x)), size = fabs(want);
  double most = f->relative * size + f->by_size * fabs(x) * size + f->absolute;
  if (near && most > 0)
    most = NEAR * (f->right == log2 && size < 1 ? 1 : size);
  bool small =
      fabs(want) < 0x1p-125 && fabs(got) < 0x1p-125; /* subnormal, or about to be */
  bool huge = fabs(want) > 0x1.ffffp127 && fabs(got) > 0x1.ffffp127;
  if ((isnan(want) && isnan(got)) || small || huge || fabs(got - want) <= most ||
      got == want)
    return;
  fail_msg("%s%s of %.9g: %.9g, not %.9g, off by %.3g, %.3g allowed", f->text,
           near ? " (near)" : "", x, got, want, fabs(got - want), most);
}

/* Of rows of one key: a warp has one, and every function writes its own. */
static void
functions_keep_their_bounds(void **state)
{
  (void)state;
  Bench b;
  Case c = {.pack = 1, .size = {[SIZE_SQ] = INPUTS, [SIZE_SK] = 1, [SIZE_H] = HEADS}};
  attnc_spec *spec[FUNCTIONS];
  Random r = {.seed = seed};
  bench_open(&b, DT_F32, 1);
  b.o.rows = i_int(INPUTS);
  b.tables[1].ty = DT_F32; /* `start` holds the inputs */
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  Tb *t = b.t;
  for (int i = 0; i < 2 * FUNCTIONS; i++) {
    const char *x = "start[q_idx]", *text = bounds[i / 2].text;
    const char *at = strrchr(text, 'x');
    char yaml[600];
    at = strstr(text, "exp") == text ? strchr(text, '(') + 1 : at;
    snprintf(
        yaml, sizeof yaml,
        "attnc: 1\nname: t\ndtype: fp16\nhead_dim: 16\n"
        "tensors: {doc: {dtype: i32, axes: [b, kv]}, start: {dtype: fp32, axes: [q]}}\n"
        "score_mod: \"%.*s%s%s\"\n",
        (int)(at - text), text, x, at + 1);
    attnc_spec **s = &spec[i / 2];
    if (i % 2 == 0)
      assert_int_equal(attnc_spec_load(yaml, strlen(yaml), "t", s, NULL), ATTNC_OK);
    Mods *m = mods_of(&b, *s);
    m->near = i % 2;
    At where = {.q = i_mul(i_cta(t, 0), 4), .k = i_int(0), .b = i_cta(t, 1)};
    where.h = where.hk = i_cta(t, 2);
    Tile zero = t_rows(t, 4, 0), y = t_score(t, m, zero, where);
    View out = v_rows(&b.o, i_int(i), i_int(0), where.q, 4);
    T_IF (t, i_lt(cta(t), 1))
      t_store_rows(t, out, y);
  }
  for (int i = 0; i < 3; i++) {
    c.elements[i] = INPUTS;
    c.table[i] = calloc(INPUTS, 4);
  }
  float *in = c.table[1];
  for (int i = 0; i < INPUTS; i++)
    in[i] = input(&r, i);
  size_t bytes = (size_t)2 * FUNCTIONS * INPUTS * sizeof(float);
  float *got = calloc(1, bytes);
  launch(&b, &c, INPUTS / 4, got, bytes);
  for (int i = 0; i < 2 * FUNCTIONS; i++)
    for (int k = 0; k < INPUTS; k++)
      judge(&bounds[i / 2], i % 2, (double)in[k], (double)got[i * INPUTS + k]);
  for (int i = 0; i < FUNCTIONS; i++)
    attnc_spec_release(spec[i]);
  free(got);
  case_close(&c);
  arena_free(b.arena);
}

int
main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions_keep_their_bounds),
      cmocka_unit_test(random_ones_are_what_the_evaluator_says),
  };
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--seed"))
      seed = strtoull(argv[i + 1], NULL, 10);
    else if (!strcmp(argv[i], "--runs"))
      runs = strtol(argv[i + 1], NULL, 10);
    else if (!strcmp(argv[i], "--shard"))
      sscanf(argv[i + 1], "%ld/%ld", &shard, &shards);
  }
  printf("seed %llu, %ld expressions, shard %ld of %ld\n", (unsigned long long)seed, runs,
         shard, shards);
  start();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
