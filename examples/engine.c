/* engine.c: a decode loop as an engine has one.  Sequences come with prompts of any
 * lengths, live in pages of one cache, get a token a step, and go.  A step has tokens of
 * all of them in one batch, parts of prompts beside single tokens: it is one plan, which
 * appends their keys, turns keys and queries by their positions, and attends; and one
 * graph, captured once and replayed whatever the lengths have become.
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
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
  SLOTS = 4, /* sequences at a time */
  H = 4,
  HK = 2,
  D = 64,
  ROWS = 16,    /* of a page */
  MOST = 1200,  /* tokens of a sequence */
  TOKENS = 200, /* of a step: longer prompts take several */
  MAX_PAGES = (MOST + ROWS - 1) / ROWS,
  PAGES = 160, /* of the cache: less than all slots could fill */
  STEPS = 30,
  TENSORS = ATTNC_SLOT_COUNT
};

/* [spec] */
static const char text[] = "attnc: 1\n"
                           "name: engine\n"
                           "dtype: bf16\n"
                           "head_dim: 64\n"
                           "group_size: 2\n"
                           "causal: true\n"
                           "append: true\n"
                           "page_table: true\n"
                           "rope: {dim: 64, dtype: fp32}\n"
                           "seqlens: [cu_seqlens_q, cu_seqlens_k_new]\n";
/* [/spec] */

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
  int n;     /* tokens in the cache */
  int known; /* those that there are: of a prompt, or one more; 0: the slot is free */
  int tokens[MOST]; /* for the check, as key is: an engine needs neither */
  uint16_t key[MOST][HK][D];
  int page[MAX_PAGES];
} Sequence;

typedef struct Engine {
  void *stream, *graph;
  attnc_context *context;
  attnc_spec *spec;
  attnc_plan *plan;
  DevicePtr k, v, cos, sin, workspace;
  size_t workspace_bytes;
  Both table, first, at;   /* page_table, cu_seqlens_q, append_at */
  Both q, k_new, v_new, o; /* tokens of all slots, one behind the other */
  Sequence slot[SLOTS];
  int free_page[PAGES], n_free;
} Engine;

static attnc_tensor
at(DevicePtr p, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
  return (attnc_tensor){(void *)(uintptr_t)p, {s0, s1, s2, s3}};
}

/* Tokens of heads of D, [tokens, heads, D], whose axes the call has as heads, tokens, D. */
static attnc_tensor
tokens(const Both *x, int heads)
{
  return at(x->device, D, (int64_t)heads * D, 1, 0);
}

/* Pages, [pages, ROWS, HK, D], whose axes the call has as pages, heads, rows, D. */
static attnc_tensor
pages(DevicePtr p)
{
  return at(p, (int64_t)ROWS * HK * D, D, (int64_t)HK * D, 1);
}

/* [step] */
/* The most that there can be: what a step has is in memory of the device. */
static const attnc_sizes most = {.size = sizeof(attnc_sizes),
                                 .b = SLOTS,
                                 .h = H,
                                 .hk = HK,
                                 .sq = TOKENS,
                                 .sk = MAX_PAGES * ROWS,
                                 .total_q = TOKENS,
                                 .total_new = TOKENS,
                                 .pages = PAGES,
                                 .page_size = ROWS,
                                 .max_pages = MAX_PAGES,
                                 .rotary_len = MOST};

/* A step of all slots: keys and values of their tokens into the cache, then attention. */
static void
launch_step(const Engine *g)
{
  attnc_error e = {0};
  const attnc_tensor t[TENSORS] = {
      [ATTNC_Q] = tokens(&g->q, H),
      [ATTNC_O] = tokens(&g->o, H),
      [ATTNC_K_NEW] = tokens(&g->k_new, HK),
      [ATTNC_V_NEW] = tokens(&g->v_new, HK),
      [ATTNC_K] = pages(g->k),
      [ATTNC_V] = pages(g->v),
      [ATTNC_PAGE_TABLE] = at(g->table.device, MAX_PAGES, 1, 0, 0),
      [ATTNC_CU_SEQLENS_Q] = at(g->first.device, 1, 0, 0, 0),
      [ATTNC_CU_SEQLENS_K_NEW] = at(g->first.device, 1, 0, 0, 0),
      [ATTNC_APPEND_AT] = at(g->at.device, 1, 0, 0, 0),
      [ATTNC_ROTARY_COS] = at(g->cos, D / 2, 1, 0, 0),
      [ATTNC_ROTARY_SIN] = at(g->sin, D / 2, 1, 0, 0)};
  const attnc_args args = {.size = sizeof args,
                           .sizes = &most,
                           .tensors = t,
                           .tensor_size = sizeof *t,
                           .n_tensors = TENSORS,
                           .workspace = (void *)(uintptr_t)g->workspace,
                           .workspace_bytes = g->workspace_bytes};
  must(attnc_launch(g->plan, &args, g->stream, NULL, &e), &e, "launch");
}

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

/* A pair (x, y), whose halves are D/2 apart, turned by a position. */
static void
put_pair(uint16_t *row, int pair, double x, double y, int position)
{
  const double a = angle(position, pair);
  row[pair] = to_bf16((float)(x * cos(a) - y * sin(a)));
  row[pair + D / 2] = to_bf16((float)(y * cos(a) + x * sin(a)));
}

/* A sequence has one token more: its key as the cache will have it. */
static void
remember(Sequence *s, int token)
{
  const int position = s->known++;
  s->tokens[position] = token;
  for (int head = 0; head < HK; head++)
    for (int i = 0; i < D / 2; i++)
      put_pair(s->key[position][head], i, from_bf16(noise(token, 0, head, i)),
               from_bf16(noise(token, 0, head, i + D / 2)), position);
}

/* The query that asks from one position for another one of the sequence: its key, long
 * enough to outweigh all others, which the plan will turn by the first. */
static void
ask(const Sequence *s, int from, int to, uint16_t *q)
{
  enum { LOUD = 12 };
  for (int h = 0; h < H; h++) {
    const uint16_t *key = s->key[to][h / (H / HK)];
    for (int i = 0; i < D / 2; i++)
      put_pair(q + h * D, i, LOUD * from_bf16(key[i]), LOUD * from_bf16(key[i + D / 2]),
               -from);
  }
}

/* Element i of a query as the plan turns it. */
static double
asked(const uint16_t *q, int position, int i)
{
  const int pair = i % (D / 2);
  const double a = angle(position, pair), x = from_bf16(q[pair]),
               y = from_bf16(q[pair + D / 2]);
  return from_bf16(
      to_bf16((float)(i == pair ? x * cos(a) - y * sin(a) : y * cos(a) + x * sin(a))));
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

/* Scores of a head's query of a position, with the keys up to it. */
static double
scores(const Sequence *s, int position, int head, const uint16_t *q, double *p)
{
  double most_of = -INFINITY, turned[D];
  for (int i = 0; i < D; i++)
    turned[i] = asked(q, position, i) / sqrt(D);
  for (int j = 0; j <= position; j++) {
    p[j] = 0;
    for (int i = 0; i < D; i++)
      p[j] += turned[i] * from_bf16(s->key[j][head][i]);
    most_of = fmax(most_of, p[j]);
  }
  return most_of;
}

/* The largest error of what a token's query gave. */
static double
row_error(const Sequence *s, int position, const uint16_t *q, const uint16_t *o)
{
  static double p[MOST];
  double worst = 0;
  for (int h = 0; h < H; h++) {
    const int head = h / (H / HK);
    double sum = 0, most_of = scores(s, position, head, q + h * D, p);
    for (int j = 0; j <= position; j++)
      sum += p[j] = exp(p[j] - most_of);
    for (int i = 0; i < D; i++) {
      double want = 0;
      for (int j = 0; j <= position; j++)
        want += p[j] / sum * from_bf16(noise(s->tokens[j], 1, head, i));
      worst = fmax(worst, fabs(want - from_bf16(o[h * D + i])));
    }
  }
  return worst;
}

static struct {
  double error;
  int rows, longest, replays, prompts, mixed;
} seen;

static void
check(const Sequence *s, int position, const uint16_t *q, const uint16_t *o)
{
  seen.error = fmax(seen.error, row_error(s, position, q, o));
  seen.rows++;
  seen.longest = position >= seen.longest ? position + 1 : seen.longest;
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
  s->n = s->known = 0;
}

static void
send(const Engine *g, const Both *x)
{
  driver(cg.send(x->device, x->host, x->bytes, g->stream), "copy");
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

/* The prompt is there; its keys come with the next steps. */
static void
join(Engine *g, int slot, int n)
{
  for (int i = 0; i < n; i++)
    remember(&g->slot[slot], (slot + 1) * 131 + i * 17 % 1021);
  seen.prompts++;
}

/* Tokens of a slot in this step, whose rows begin at `first`: as many as leave each slot
 * behind it one. */
static int
tokens_of(const Sequence *s, int first, int behind)
{
  const int want = s->known - s->n, room = TOKENS - first - behind;
  return want < room ? want : room;
}

static void
put_slot(Engine *g, int slot, int first, int n, int turn)
{
  Sequence *s = &g->slot[slot];
  take_pages(g, slot, s->n + n);
  ((int32_t *)g->at.host)[slot] = s->n;
  for (int i = 0; i < n; i++) {
    const int position = s->n + i, row = first + i;
    put_token(s->tokens[position], (uint16_t *)g->k_new.host + row * HK * D,
              (uint16_t *)g->v_new.host + row * HK * D);
    ask(s, position, some_position(position + 1, turn + slot + i),
        (uint16_t *)g->q.host + row * H * D);
  }
}

/* Host side of a step: whose tokens it has, where each goes, what is asked. */
static void
prepare_step(Engine *g, int turn)
{
  int32_t *first = g->first.host;
  int single = 0, many = 0;
  for (int i = 0; i < SLOTS; i++) {
    const int n = tokens_of(&g->slot[i], first[i], SLOTS - 1 - i);
    put_slot(g, i, first[i], n, turn);
    first[i + 1] = first[i] + n;
    single += n == 1;
    many += n > 16;
  }
  seen.mixed += single && many;
}

static void
replay_step(Engine *g)
{
  const Both *in[] = {&g->table, &g->first, &g->at, &g->q, &g->k_new, &g->v_new};
  for (size_t i = 0; i < sizeof in / sizeof *in; i++)
    send(g, in[i]);
  driver(cg.replay(g->graph, g->stream), "replay");
  driver(cg.fetch(g->o.host, g->o.device, g->o.bytes, g->stream), "copy");
  driver(cg.wait(g->stream), "a step");
  seen.replays++;
}

/* What came out for a slot; behind the last token that is known it is the next one. */
static void
take_slot(Engine *g, int slot, int first, int n, int turn)
{
  Sequence *s = &g->slot[slot];
  const uint16_t *q = (const uint16_t *)g->q.host + first * H * D;
  const uint16_t *o = (const uint16_t *)g->o.host + first * H * D;
  for (int i = 0; i < n; i += i + 8 < n ? 7 : 1)
    check(s, s->n + i, q + i * H * D, o + i * H * D);
  s->n += n;
  if (n && s->n == s->known)
    remember(s, next_token(o + (n - 1) * H * D, turn));
}

static void
step(Engine *g, int turn)
{
  const int32_t *first = g->first.host;
  prepare_step(g, turn);
  replay_step(g);
  for (int i = 0; i < SLOTS; i++)
    take_slot(g, i, first[i], first[i + 1] - first[i], turn);
}

/* ---- beginning ---- */

/* The plan, for the most that it will serve; most sequences
 * have a token a step. */
static void
make_plan(Engine *g)
{
  attnc_error e = {0};
  const attnc_problem problem = {.size = sizeof problem,
                                 .op = ATTNC_OP_FWD,
                                 .sizes = &most,
                                 .stream = g->stream,
                                 .mean_q = 12};
  must(attnc_context_create(NULL, &g->context, &e), &e, "context");
  must(attnc_spec_load(text, strlen(text), "engine", &g->spec, NULL), &e, "spec");
  must(attnc_plan_get(g->context, g->spec, &problem, &g->plan, &e), &e, "plan");
  must(attnc_plan_workspace(g->plan, &most, &g->workspace_bytes), &e, "workspace");
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
  g->first = both_new((SLOTS + 1) * sizeof(int32_t));
  g->at = both_new(SLOTS * sizeof(int32_t));
  g->q = both_new(TOKENS * H * row);
  g->o = both_new(TOKENS * H * row);
  g->k_new = both_new(TOKENS * HK * row);
  g->v_new = both_new(TOKENS * HK * row);
  for (int i = 0; i < PAGES; i++) /* in no order */
    g->free_page[i] = i * 77 % PAGES;
  g->n_free = PAGES;
  for (int i = 0; i < SLOTS; i++)
    leave(g, i);
}

/* Who comes and goes before a step. */
static void
come_and_go(Engine *g, int turn)
{
  if (turn == 0)
    join(g, 0, 1);
  else if (turn == 2)
    join(g, 1, 1030);
  else if (turn == 6)
    join(g, 2, 500); /* grows past a part of a split */
  else if (turn == 16)
    leave(g, 2); /* and another one takes its slot and its pages */
  else if (turn == 18)
    join(g, 2, 33);
  else if (turn == 20)
    join(g, 3, 16);
}

int
main(void)
{
  static Engine g;
  if (device_open() || device_find(cg_symbols, sizeof cg_symbols / sizeof *cg_symbols))
    return 6;
  driver(cg.stream_new(&g.stream, 1), "stream");
  make_buffers(&g);
  make_plan(&g);
  cu.synchronize(); /* what memory was zeroed by is of another stream */
  capture_step(&g);
  for (int turn = 0; turn < STEPS; turn++) {
    come_and_go(&g, turn);
    step(&g, turn);
  }
  const bool mixed = strstr(attnc_plan_json(g.plan), "\"mixed\"") != NULL;
  const bool good = mixed && seen.mixed > 5 && seen.longest > 1030 && seen.error < 0.01;
  printf("a step: %s, %zu bytes of workspace\n", mixed ? "mixed" : "another template",
         g.workspace_bytes);
  printf(
      "%d prompts, %d replays of one graph, %d with prompts beside single tokens, %d rows "
      "of up to %d keys, largest error %.2g: %s\n",
      seen.prompts, seen.replays, seen.mixed, seen.rows, seen.longest, seen.error,
      good ? "PASS" : "FAIL");
  attnc_plan_release(g.plan);
  attnc_spec_release(g.spec);
  attnc_context_release(g.context);
  return !good;
}
