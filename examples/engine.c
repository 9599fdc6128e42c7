/* engine.c: a decode loop as an engine has one.  Sequences come with prompts of any
 * lengths, live in pages of one cache, get a token a step, and go; a step is one graph,
 * captured once and replayed whatever the lengths have become.
 *
 *   cc engine.c $(pkg-config --cflags --libs attnc) -lm && ./a.out
 *   ATTNC_LIBCUDA=libattnc-emu.so ./a.out       without a GPU
 *
 * There is no model: keys and values of a token are noise that its number decides, queries
 * ask for the key of some position, so that it is known what must come out, and the largest
 * element of what comes out is the next token. */
#include "device.h"

#include <attnc/attnc.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
  SLOTS = 4, /* sequences at a time */
  H = 4,
  HK = 2,
  D = 64,
  ROWS = 16,      /* of a page */
  MOST = 1200,    /* tokens of a sequence */
  LONGEST = 1030, /* a prompt */
  MAX_PAGES = (MOST + ROWS - 1) / ROWS,
  PAGES = 160, /* of the cache: less than all slots could fill */
  STEPS = 24,
  TENSORS = ATTNC_SLOT_COUNT
};

/* [specs] */
static const char cache_text[] = "attnc: 1\n"
                                 "name: engine_cache\n"
                                 "dtype: bf16\n"
                                 "head_dim: 64\n"
                                 "page_table: true\n"
                                 "rope: {dim: 64, dtype: fp32}\n";
static const char attention_text[] = "attnc: 1\n"
                                     "name: engine\n"
                                     "dtype: bf16\n"
                                     "head_dim: 64\n"
                                     "group_size: 2\n"
                                     "causal: true\n"
                                     "page_table: true\n"
                                     "seqlens: [seqused_k]\n";
/* [/specs] */

/* ---- the driver: streams and graphs ---- */

static struct {
  int (*stream_new)(void **stream, unsigned flags);
  int (*begin)(void *stream, int mode);
  int (*end)(void *stream, void **graph);
  int (*instantiate)(void **executable, void *graph, unsigned long long flags);
  int (*replay)(void *executable, void *stream);
  int (*wait)(void *stream);
  int (*send)(DevicePtr, const void *, size_t, void *stream);
  int (*fetch)(void *, DevicePtr, size_t, void *stream);
  int (*zero)(DevicePtr, unsigned char, size_t);
} cg;

static const CuSymbol cg_symbols[] = {
    {"cuStreamCreate", &cg.stream_new}, {"cuStreamBeginCapture_v2", &cg.begin},
    {"cuStreamEndCapture", &cg.end},    {"cuGraphInstantiateWithFlags", &cg.instantiate},
    {"cuGraphLaunch", &cg.replay},      {"cuStreamSynchronize", &cg.wait},
    {"cuMemcpyHtoDAsync_v2", &cg.send}, {"cuMemcpyDtoHAsync_v2", &cg.fetch},
    {"cuMemsetD8_v2", &cg.zero},
};

static void
must(attnc_status status, const attnc_error *e, const char *what)
{
  if (status == ATTNC_OK)
    return;
  fprintf(stderr, "%s: %s: %s\n", what, attnc_status_string(status), e->message);
  exit(1);
}

static void
driver(int failed, const char *what)
{
  if (!failed)
    return;
  fprintf(stderr, "%s: the driver says %d\n", what, failed);
  exit(6);
}

static DevicePtr
device_new(size_t bytes)
{
  DevicePtr p = 0;
  driver(cu.alloc(&p, bytes) || cg.zero(p, 0, bytes), "memory");
  return p;
}

/* ---- what a step reads and writes: the same memory each time ---- */

/* A buffer of the host and its copy on the device. */
typedef struct Both {
  void *host;
  DevicePtr device;
  size_t bytes;
} Both;

static Both
both_new(size_t bytes)
{
  return (Both){calloc(1, bytes), device_new(bytes), bytes};
}

typedef struct Sequence {
  int n;            /* tokens in the cache; 0: the slot is free */
  int token;        /* the next one, whose key is not there yet */
  int tokens[MOST]; /* for the check, as key is: an engine needs neither */
  uint16_t key[MOST][HK][D];
  int page[MAX_PAGES];
} Sequence;

typedef struct Engine {
  void *stream, *graph;
  attnc_context *context;
  attnc_spec *cache, *attention;
  attnc_plan *append, *prefill, *decode;
  DevicePtr k, v, cos, sin, workspace;
  size_t workspace_bytes;
  Both table, used, at;        /* page_table, seqused_k, append_at */
  Both q, k_new, v_new, o;     /* of a step: a token of each slot */
  Both pq, pk_new, pv_new, po; /* of a prompt */
  Sequence slot[SLOTS];
  int free_page[PAGES], n_free;
} Engine;

static attnc_tensor
at(DevicePtr p, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
  return (attnc_tensor){(void *)(uintptr_t)p, {s0, s1, s2, s3}};
}

/* Rows of heads of D, [b, s, heads, D], whose axes the call has as b, heads, s, D. */
static attnc_tensor
rows(DevicePtr p, int s, int heads)
{
  return at(p, (int64_t)s * heads * D, D, (int64_t)heads * D, 1);
}

/* What of a call is the same for prompts and steps: the cache, the tables of n slots from
 * `first` on. */
static void
put_cache(const Engine *g, attnc_tensor t[TENSORS], int first)
{
  t[ATTNC_K] = rows(g->k, ROWS, HK);
  t[ATTNC_V] = rows(g->v, ROWS, HK);
  t[ATTNC_PAGE_TABLE] =
      at(g->table.device + (size_t)first * MAX_PAGES * sizeof(int32_t), MAX_PAGES, 1, 0, 0);
  t[ATTNC_SEQUSED_K] = at(g->used.device + (size_t)first * sizeof(int32_t), 1, 0, 0, 0);
  t[ATTNC_APPEND_AT] = at(g->at.device + (size_t)first * sizeof(int32_t), 1, 0, 0, 0);
  t[ATTNC_ROTARY_COS] = at(g->cos, D / 2, 1, 0, 0);
  t[ATTNC_ROTARY_SIN] = at(g->sin, D / 2, 1, 0, 0);
}

static attnc_sizes
sizes_of(int b, int sq)
{
  return (attnc_sizes){.size = sizeof(attnc_sizes),
                       .b = b,
                       .h = H,
                       .hk = HK,
                       .sq = sq,
                       .sk = MAX_PAGES * ROWS,
                       .pages = PAGES,
                       .page_size = ROWS,
                       .max_pages = MAX_PAGES};
}

static attnc_sizes
append_sizes(int b, int n)
{
  attnc_sizes s = sizes_of(b, 0);
  s.s_new = n;
  s.rotary_len = MOST;
  return s;
}

static void
launch(const Engine *g, const attnc_plan *plan, const attnc_sizes *sizes,
       const attnc_tensor *t, const char *what)
{
  attnc_error e = {0};
  const attnc_args args = {.size = sizeof args,
                           .sizes = sizes,
                           .tensors = t,
                           .tensor_size = sizeof *t,
                           .n_tensors = TENSORS,
                           .workspace = (void *)(uintptr_t)g->workspace,
                           .workspace_bytes = g->workspace_bytes};
  must(attnc_launch(plan, &args, g->stream, NULL, &e), &e, what);
}

/* [step] */
/* A step of all slots: keys and values of the tokens into the cache, then attention.  All
 * that changes from one step to the next is in memory of the device. */
static void
launch_step(const Engine *g)
{
  attnc_tensor t[TENSORS] = {{0}};
  const attnc_sizes appends = append_sizes(SLOTS, 1), attends = sizes_of(SLOTS, 1);
  put_cache(g, t, 0);
  t[ATTNC_K_NEW] = rows(g->k_new.device, 1, HK);
  t[ATTNC_V_NEW] = rows(g->v_new.device, 1, HK);
  t[ATTNC_Q] = rows(g->q.device, 1, H);
  t[ATTNC_O] = rows(g->o.device, 1, H);
  launch(g, g->append, &appends, t, "append");
  launch(g, g->decode, &attends, t, "decode");
}

/* Once: the sizes are the most that there can be. */
static void
capture_step(Engine *g)
{
  void *graph;
  driver(cg.begin(g->stream, 0), "capture");
  launch_step(g);
  driver(cg.end(g->stream, &graph), "capture");
  driver(cg.instantiate(&g->graph, graph, 0), "graph");
}
/* [/step] */

/* A prompt of one slot, which is a call of its own sizes. */
static void
launch_prompt(const Engine *g, int slot, int n)
{
  attnc_tensor t[TENSORS] = {{0}};
  const attnc_sizes appends = append_sizes(1, n), attends = sizes_of(1, n);
  put_cache(g, t, slot);
  t[ATTNC_K_NEW] = rows(g->pk_new.device, n, HK);
  t[ATTNC_V_NEW] = rows(g->pv_new.device, n, HK);
  t[ATTNC_Q] = rows(g->pq.device, n, H);
  t[ATTNC_O] = rows(g->po.device, n, H);
  launch(g, g->append, &appends, t, "append of a prompt");
  launch(g, g->prefill, &attends, t, "prefill");
}

/* ---- the model that there is not ---- */

static uint16_t
to_bf16(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float
from_bf16(uint16_t x)
{
  const uint32_t bits = (uint32_t)x << 16;
  float y;
  memcpy(&y, &bits, sizeof y);
  return y;
}

/* Element i of a token's key (kind 0) or value (1), between -1 and 1. */
static uint16_t
noise(int token, int kind, int head, int i)
{
  uint32_t x = (uint32_t)(((token * 2 + kind) * HK + head) * D + i) * 2654435761u;
  x = (x ^ x >> 15) * 2246822519u;
  x = (x ^ x >> 13) * 3266489917u;
  x ^= x >> 16;
  return to_bf16((float)(x >> 8) / (1 << 23) - 1);
}

static double
angle(int position, int pair)
{
  return position * pow(10000, -2.0 * pair / D);
}

/* Element i of the key of a token at a position: the halves of a pair are D/2 apart. */
/* A sequence has one token more: its key as the cache must have it, the halves of a pair
 * D/2 apart. */
static void
remember(Sequence *s, int position, int token)
{
  s->tokens[position] = token;
  for (int pair = 0; pair < D / 2; pair++) {
    const double a = angle(position, pair), cosine = cos(a), sine = sin(a);
    for (int head = 0; head < HK; head++) {
      const double x = from_bf16(noise(token, 0, head, pair)),
                   y = from_bf16(noise(token, 0, head, pair + D / 2));
      s->key[position][head][pair] = to_bf16((float)(x * cosine - y * sine));
      s->key[position][head][pair + D / 2] = to_bf16((float)(y * cosine + x * sine));
    }
  }
}

/* The query that asks for a position of the sequence: its key, long enough to outweigh all
 * others. */
static void
ask(const Sequence *s, int position, uint16_t *q)
{
  enum { LOUD = 12 };
  for (int h = 0; h < H; h++)
    for (int i = 0; i < D; i++)
      q[h * D + i] = to_bf16(LOUD * from_bf16(s->key[position][h / (H / HK)][i]));
}

static void
put_token(int token, uint16_t *k_new, uint16_t *v_new)
{
  for (int head = 0; head < HK; head++)
    for (int i = 0; i < D; i++) {
      k_new[head * D + i] = noise(token, 0, head, i);
      v_new[head * D + i] = noise(token, 1, head, i);
    }
}

static int
next_token(const uint16_t *o, int salt)
{
  int best = 0;
  for (int i = 1; i < H * D; i++)
    best = from_bf16(o[i]) > from_bf16(o[best]) ? i : best;
  return best + H * D * (salt % 8);
}

/* ---- the check: attention in double, from the tokens alone ---- */

/* The largest error of a row of one query that sees the first n tokens. */
static double
row_error(const Sequence *s, int n, const uint16_t *q, const uint16_t *o)
{
  static double p[MOST];
  double worst = 0;
  for (int h = 0; h < H; h++) {
    const int head = h / (H / HK);
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < n; j++) {
      p[j] = 0;
      for (int i = 0; i < D; i++)
        p[j] += from_bf16(q[h * D + i]) * from_bf16(s->key[j][head][i]) / sqrt(D);
      most = fmax(most, p[j]);
    }
    for (int j = 0; j < n; j++)
      sum += p[j] = exp(p[j] - most);
    for (int i = 0; i < D; i++) {
      double want = 0;
      for (int j = 0; j < n; j++)
        want += p[j] / sum * from_bf16(noise(s->tokens[j], 1, head, i));
      worst = fmax(worst, fabs(want - from_bf16(o[h * D + i])));
    }
  }
  return worst;
}

static struct {
  double error;
  int rows, longest, replays, prompts;
} seen;

static void
check(const Sequence *s, int n, const uint16_t *q, const uint16_t *o)
{
  seen.error = fmax(seen.error, row_error(s, n, q, o));
  seen.rows++;
  seen.longest = n > seen.longest ? n : seen.longest;
}

/* ---- sequences come, grow and go ---- */

/* Pages for a slot of n tokens. */
static void
take_pages(Engine *g, int slot, int n)
{
  Sequence *s = &g->slot[slot];
  int32_t *row = (int32_t *)g->table.host + slot * MAX_PAGES;
  for (int i = (s->n + ROWS - 1) / ROWS; i < (n + ROWS - 1) / ROWS; i++) {
    if (!g->n_free) {
      fprintf(stderr, "the cache is full\n");
      exit(1);
    }
    row[i] = s->page[i] = g->free_page[--g->n_free];
  }
}

/* Its entries of the table may say anything from now on. */
static void
leave(Engine *g, int slot)
{
  Sequence *s = &g->slot[slot];
  for (int i = 0; i < (s->n + ROWS - 1) / ROWS; i++)
    g->free_page[g->n_free++] = s->page[i];
  for (int i = 0; i < MAX_PAGES; i++)
    ((int32_t *)g->table.host)[slot * MAX_PAGES + i] = -1;
  s->n = 0;
}

static void
send(const Engine *g, const Both *x, size_t bytes)
{
  driver(cg.send(x->device, x->host, bytes, g->stream), "copy");
}

static void
fetch(const Engine *g, const Both *x, size_t bytes)
{
  driver(cg.fetch(x->host, x->device, bytes, g->stream), "copy");
}

static void
send_lengths(const Engine *g)
{
  send(g, &g->table, g->table.bytes);
  send(g, &g->used, g->used.bytes);
  send(g, &g->at, g->at.bytes);
}

/* Some position that a query of n tokens may ask for: the first, the last, both sides of a
 * page's end and of what one part of a split has, and others. */
static int
some_position(int n, int turn)
{
  static const int edges[] = {0, 511, 512, 1023, 1024, 15, 16};
  const int last = n - 1, edge = edges[turn / 3 % 7];
  return turn % 3 == 0 ? last : turn % 3 == 1 && edge < n ? edge : turn * 7919 % n;
}

/* [join] */
static void
join(Engine *g, int slot, int n)
{
  Sequence *s = &g->slot[slot];
  take_pages(g, slot, n);
  for (int i = 0; i < n; i++) {
    remember(s, i, (slot + 1) * 131 + i * 17 % 1021);
    put_token(s->tokens[i], (uint16_t *)g->pk_new.host + i * HK * D,
              (uint16_t *)g->pv_new.host + i * HK * D);
    ask(s, some_position(i + 1, i), (uint16_t *)g->pq.host + i * H * D);
  }
  ((int32_t *)g->at.host)[slot] = 0;
  ((int32_t *)g->used.host)[slot] = s->n = n;
  send_lengths(g);
  send(g, &g->pq, (size_t)n * H * D * sizeof(uint16_t));
  send(g, &g->pk_new, (size_t)n * HK * D * sizeof(uint16_t));
  send(g, &g->pv_new, (size_t)n * HK * D * sizeof(uint16_t));
  launch_prompt(g, slot, n);
  fetch(g, &g->po, (size_t)n * H * D * sizeof(uint16_t));
  driver(cg.wait(g->stream), "a prompt");
  const uint16_t *o = g->po.host;
  for (int i = 0; i < n; i += i < n - 40 ? 37 : 1)
    check(s, i + 1, (const uint16_t *)g->pq.host + i * H * D, o + i * H * D);
  s->token = next_token(o + (n - 1) * H * D, n);
  seen.prompts++;
}
/* [/join] */

/* Host side of a step: where each token goes, what is asked. */
static void
prepare_step(Engine *g, int turn)
{
  for (int i = 0; i < SLOTS; i++) {
    Sequence *s = &g->slot[i];
    int32_t *used = (int32_t *)g->used.host + i, *old = (int32_t *)g->at.host + i;
    *old = s->n ? s->n : MOST; /* no page is written for a free slot */
    *used = 0;
    if (!s->n)
      continue;
    take_pages(g, i, s->n + 1);
    remember(s, s->n, s->token);
    *used = ++s->n;
    put_token(s->token, (uint16_t *)g->k_new.host + i * HK * D,
              (uint16_t *)g->v_new.host + i * HK * D);
    ask(s, some_position(s->n, turn + i), (uint16_t *)g->q.host + i * H * D);
  }
}

static void
replay_step(Engine *g)
{
  send_lengths(g);
  send(g, &g->q, g->q.bytes);
  send(g, &g->k_new, g->k_new.bytes);
  send(g, &g->v_new, g->v_new.bytes);
  driver(cg.replay(g->graph, g->stream), "replay");
  fetch(g, &g->o, g->o.bytes);
  driver(cg.wait(g->stream), "a step");
  seen.replays++;
}

static void
step(Engine *g, int turn)
{
  prepare_step(g, turn);
  replay_step(g);
  for (int i = 0; i < SLOTS; i++) {
    const uint16_t *o = (const uint16_t *)g->o.host + i * H * D;
    if (!g->slot[i].n)
      continue;
    check(&g->slot[i], g->slot[i].n, (const uint16_t *)g->q.host + i * H * D, o);
    g->slot[i].token = next_token(o, turn);
  }
}

/* ---- beginning ---- */

static attnc_plan *
plan_of(Engine *g, const attnc_spec *spec, int op, attnc_sizes sizes)
{
  attnc_error e = {0};
  attnc_plan *plan = NULL;
  size_t bytes = 0;
  const attnc_problem problem = {
      .size = sizeof problem, .op = op, .sizes = &sizes, .stream = g->stream};
  must(attnc_plan_get(g->context, spec, &problem, &plan, &e), &e, "plan");
  must(attnc_plan_workspace(plan, &sizes, &bytes), &e, "workspace");
  if (bytes > g->workspace_bytes)
    g->workspace_bytes = bytes;
  return plan;
}

/* Plans, for the most that they will serve, and one workspace for all: they never run at
 * the same time. */
static void
make_plans(Engine *g)
{
  attnc_error e = {0};
  must(attnc_context_create(NULL, &g->context, &e), &e, "context");
  must(attnc_spec_load(cache_text, strlen(cache_text), "cache", &g->cache, NULL), &e,
       "spec");
  must(attnc_spec_load(attention_text, strlen(attention_text), "attention", &g->attention,
                       NULL),
       &e, "spec");
  g->append = plan_of(g, g->cache, ATTNC_OP_APPEND, append_sizes(SLOTS, 1));
  g->prefill = plan_of(g, g->attention, ATTNC_OP_FWD, sizes_of(1, LONGEST));
  g->decode = plan_of(g, g->attention, ATTNC_OP_FWD, sizes_of(SLOTS, 1));
  if (g->workspace_bytes)
    g->workspace = device_new(g->workspace_bytes);
}

static DevicePtr
rotary(double (*of)(double))
{
  static float all[MOST * (D / 2)];
  for (int p = 0; p < MOST; p++)
    for (int i = 0; i < D / 2; i++)
      all[p * (D / 2) + i] = (float)of(angle(p, i));
  DevicePtr p = device_copy(all, sizeof all);
  driver(!p, "memory");
  return p;
}

static void
make_buffers(Engine *g)
{
  const size_t row = D * sizeof(uint16_t);
  g->k = device_new(PAGES * ROWS * HK * row);
  g->v = device_new(PAGES * ROWS * HK * row);
  g->cos = rotary(cos);
  g->sin = rotary(sin);
  g->table = both_new(SLOTS * MAX_PAGES * sizeof(int32_t));
  g->used = both_new(SLOTS * sizeof(int32_t));
  g->at = both_new(SLOTS * sizeof(int32_t));
  g->q = both_new(SLOTS * H * row);
  g->o = both_new(SLOTS * H * row);
  g->k_new = both_new(SLOTS * HK * row);
  g->v_new = both_new(SLOTS * HK * row);
  g->pq = both_new(LONGEST * H * row);
  g->po = both_new(LONGEST * H * row);
  g->pk_new = both_new(LONGEST * HK * row);
  g->pv_new = both_new(LONGEST * HK * row);
  for (int i = 0; i < PAGES; i++) /* in no order */
    g->free_page[i] = i * 77 % PAGES;
  g->n_free = PAGES;
  for (int i = 0; i < SLOTS; i++)
    leave(g, i);
}

int
main(void)
{
  static Engine g;
  if (device_open() || device_find(cg_symbols, sizeof cg_symbols / sizeof *cg_symbols))
    return 6;
  driver(cg.stream_new(&g.stream, 1), "stream");
  make_buffers(&g);
  make_plans(&g);
  cu.synchronize(); /* what memory was zeroed by is of another stream */
  capture_step(&g);
  join(&g, 0, LONGEST);
  join(&g, 1, 1);
  join(&g, 2, 500); /* grows past a part of a split */
  for (int turn = 0; turn < STEPS; turn++) {
    if (turn == 8) { /* one goes, and another one takes its slot and its pages */
      leave(&g, 2);
    } else if (turn == 12) {
      join(&g, 2, 33);
      join(&g, 3, 16);
    }
    step(&g, turn);
  }
  printf("a step: %s, %zu bytes of workspace\n",
         strstr(attnc_plan_json(g.decode), "decode_mma") ? "decode_mma"
                                                         : "another template",
         g.workspace_bytes);
  printf("%d prompts, %d replays of one graph, %d rows of up to %d keys, largest error "
         "%.2g: %s\n",
         seen.prompts, seen.replays, seen.rows, seen.longest, seen.error,
         seen.error < 0.01 ? "PASS" : "FAIL");
  attnc_plan_release(g.append);
  attnc_plan_release(g.prefill);
  attnc_plan_release(g.decode);
  attnc_spec_release(g.cache);
  attnc_spec_release(g.attention);
  attnc_context_release(g.context);
  return !(seen.error < 0.01);
}
