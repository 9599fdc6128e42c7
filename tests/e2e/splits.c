/* splits: keys that are split over CTAs by a plan that the device makes, on the emulated
 * device.
 *
 *   e2e_splits TARGET SETS [TEMPLATE [step]]
 *
 * A graph that was captured once, at the call's sizes, is right for SETS random sets of
 * lengths, from 0 to the most; a row has the same bits alone, among 64 others and in any
 * order; where the room is too small, rows without room are NaN, the others are right, the
 * items are counted and nothing is written past the room; the room for large calls.  With
 * `step` a launch adds the items up: to the same bits as the last CTA of each row does. */
#include "tests/e2e/device.h"
#include "tests/e2e/graph.h"
#include "tests/e2e/number.h"
#include "tests/e2e/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 64, HK = 2, GROUP = 2, H = HK * GROUP, MOST_B = 64, SK = 700, PAGE = 16 };
enum { MOST_PAGES = (SK + PAGE - 1) / PAGE, PAGES = MOST_B * MOST_PAGES };
enum { GUARD = 4096 }; /* bytes behind the workspace */

/* One pool of pages serves all; a sequence's are those of its number. */
static const char text[] =
    "attnc: 1\nname: splits\ndtype: fp16\nhead_dim: 64\ngroup_size: 2\n"
    "seqlens: [seqused_k]\npage_table: true\nreturn_lse: true\nbatch_invariant: true\n"
    "schedule: [{arch: %s, template: %s, block_m: %d, block_n: 64, split_keys: 64,\n"
    "  pack_gqa: true, combine: %s}]\n";

/* Who splits, rows of its blocks, and whether a launch adds items up. */
typedef struct Splitter {
  const char *template;
  int rows;
  bool step;
} Splitter;
static Splitter splitters[] = {{.template = "decode_mma", .rows = 16},
                               {.template = "decode_wgmma", .rows = 64}};
static Splitter splitter;

static Session session;
static GraphCalls graph;
static attnc_spec *spec;
static uint16_t q[MOST_B][H][D], k[PAGES][PAGE][HK][D], v[PAGES][PAGE][HK][D];
static CUdeviceptr at_k, at_v;
static unsigned rng = 1;

static void
die(const char *what, const char *why)
{
  fprintf(stderr, "e2e_splits: %s: %s\n", what, why);
  exit(1);
}

#define OK(r) ok((r), #r)
static void
ok(CUresult r, const char *what)
{
  if (r)
    die(what, device_result(&session.device, r));
}

static const char *
yes_no(bool yes)
{
  return yes ? "true" : "false";
}

static unsigned
below(unsigned n)
{
  rng = rng * 1664525u + 1013904223u;
  return (rng >> 8) % n;
}

/* Halves of a few bits: -2 to 2, right in every arithmetic. */
static void
fill(uint16_t *x, size_t n)
{
  static const uint16_t some[] = {0x0000, 0x3400, 0x3800, 0x3a00, 0x3c00,
                                  0xb400, 0xb800, 0xba00, 0xbc00, 0x4000};
  for (size_t i = 0; i < n; i++)
    x[i] = some[below(sizeof some / sizeof *some)];
}

static double
value(uint16_t x)
{
  int e = x >> 10 & 31;
  double m = e ? 1 + (x & 1023) / 1024.0 : (x & 1023) / 1024.0;
  double a = e == 31 ? (x & 1023 ? NAN : INFINITY) : ldexp(m, e ? e - 15 : -14);
  return x >> 15 ? -a : a;
}

/* ---- a batch ---- */

typedef struct Batch {
  int n;
  int32_t who[MOST_B], length[MOST_B]; /* the sequence's pages and query; its keys */
  uint16_t o[MOST_B][H][D];
  float lse[MOST_B][H];
} Batch;

typedef struct Run {
  attnc_plan *plan;
  attnc_sizes sizes;
  CUdeviceptr q, o, lse, length, table, workspace;
  size_t bytes;
  attnc_tensor tensors[ATTNC_SLOT_COUNT];
  attnc_args args;
} Run;

static CUdeviceptr
room(size_t n)
{
  CUdeviceptr at = 0;
  OK(session.device.cuMemAlloc_v2(&at, n));
  return at;
}

static attnc_tensor
tensor(CUdeviceptr at, int64_t a, int64_t b, int64_t c)
{
  attnc_tensor t = {.data = (void *)(uintptr_t)at, .stride = {a, b, c, c ? 1 : 0}};
  return t;
}

static void
plan_for(Run *r, int b, int64_t max_items)
{
  attnc_error e = {0};
  r->sizes = (attnc_sizes){.size = sizeof r->sizes, .b = b, .h = H, .hk = HK, .sq = 1};
  r->sizes.sk = SK;
  r->sizes.pages = PAGES;
  r->sizes.page_size = PAGE;
  r->sizes.max_pages = MOST_PAGES;
  r->sizes.max_items = max_items;
  attnc_problem p = {.size = sizeof p, .sizes = &r->sizes};
  if (attnc_plan_get(session.context, spec, &p, &r->plan, &e))
    die("attnc_plan_get", e.message);
}

static void
run_open(Run *r, int b, int64_t max_items)
{
  memset(r, 0, sizeof *r);
  plan_for(r, b, max_items);
  r->q = room(sizeof q);
  r->o = room(sizeof q);
  r->lse = room(sizeof(float) * MOST_B * H);
  r->length = room(sizeof(int32_t) * MOST_B);
  r->table = room(sizeof(int32_t) * MOST_B * MOST_PAGES);
  if (attnc_plan_workspace(r->plan, &r->sizes, &r->bytes))
    die("attnc_plan_workspace", "refuses the sizes");
  r->workspace = room(r->bytes + GUARD);
  OK(session.device.cuMemsetD8_v2(r->workspace, 0xa5, r->bytes + GUARD));
  r->tensors[ATTNC_Q] = tensor(r->q, H * D, D, H * D);
  r->tensors[ATTNC_O] = tensor(r->o, H * D, D, H * D);
  r->tensors[ATTNC_K] = tensor(at_k, PAGE * HK * D, D, HK * D);
  r->tensors[ATTNC_V] = tensor(at_v, PAGE * HK * D, D, HK * D);
  r->tensors[ATTNC_LSE].data = (void *)(uintptr_t)r->lse;
  r->tensors[ATTNC_SEQUSED_K].data = (void *)(uintptr_t)r->length;
  r->tensors[ATTNC_SEQUSED_K].stride[0] = 1;
  r->tensors[ATTNC_PAGE_TABLE] = tensor(r->table, MOST_PAGES, 1, 0);
  r->args = (attnc_args){.size = sizeof r->args, .sizes = &r->sizes, .tensors = r->tensors};
  r->args.tensor_size = sizeof *r->tensors;
  r->args.n_tensors = ATTNC_SLOT_COUNT;
  r->args.workspace = (void *)(uintptr_t)r->workspace;
  r->args.workspace_bytes = r->bytes;
}

static void
run_close(Run *r)
{
  const CUdeviceptr all[] = {r->q, r->o, r->lse, r->length, r->table, r->workspace};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    OK(session.device.cuMemFree_v2(all[i]));
  attnc_plan_release(r->plan);
}

/* Entries behind a sequence's keys are no page. */
static void
send(const Run *r, const Batch *b)
{
  static int32_t table[MOST_B][MOST_PAGES];
  static uint16_t rows[MOST_B][H][D];
  for (int i = 0; i < b->n; i++) {
    memcpy(rows[i], q[b->who[i]], sizeof rows[i]);
    for (int j = 0; j < MOST_PAGES; j++)
      table[i][j] = j * PAGE < b->length[i] ? b->who[i] * MOST_PAGES + j : -1 - j;
  }
  OK(session.device.cuMemcpyHtoD_v2(r->q, rows, sizeof rows));
  OK(session.device.cuMemcpyHtoD_v2(r->table, table, sizeof table));
  OK(session.device.cuMemcpyHtoD_v2(r->length, b->length, sizeof b->length));
  OK(session.device.cuMemsetD8_v2(r->o, 0x5a, sizeof q));
  OK(session.device.cuStreamSynchronize(NULL));
}

static void
receive(const Run *r, Batch *b)
{
  char found[4000];
  OK(session.device.cuStreamSynchronize(NULL));
  if (device_findings(&session.device, found, sizeof found))
    die("a launch", found);
  OK(session.device.cuMemcpyDtoH_v2(b->o, r->o, sizeof b->o));
  OK(session.device.cuMemcpyDtoH_v2(b->lse, r->lse, sizeof b->lse));
}

static void
launch(const Run *r, Batch *b)
{
  attnc_error e = {0};
  send(r, b);
  if (attnc_launch(r->plan, &r->args, NULL, NULL, &e))
    die("attnc_launch", e.message);
  receive(r, b);
}

/* ---- against fp64 ---- */

static bool
is_right(const Batch *b, int i, int h)
{
  double s[SK + 1], most = -INFINITY, sum = 0;
  int n = b->length[i], who = b->who[i];
  for (int j = 0; j < n; j++) {
    const uint16_t *key = k[who * MOST_PAGES + j / PAGE][j % PAGE][h / GROUP];
    s[j] = 0;
    for (int d = 0; d < D; d++)
      s[j] += value(q[who][h][d]) * value(key[d]) / 8; /* 1 / sqrt(64) */
    most = fmax(most, s[j]);
  }
  for (int j = 0; j < n; j++)
    sum += s[j] = exp(s[j] - most);
  double lse = n ? most + log(sum) : -INFINITY;
  if (n ? !(fabs(b->lse[i][h] - lse) < 1e-4) : !isinf(b->lse[i][h]))
    return false;
  for (int d = 0; d < D; d++) {
    double o = 0;
    for (int j = 0; j < n; j++)
      o += s[j] / sum * value(v[who * MOST_PAGES + j / PAGE][j % PAGE][h / GROUP][d]);
    if (!(fabs(value(b->o[i][h][d]) - o) < 4e-3))
      return false;
  }
  return true;
}

static bool
is_nan(const Batch *b, int i, int h)
{
  bool all = isnan(b->lse[i][h]);
  for (int d = 0; d < D; d++)
    all = all && isnan(value(b->o[i][h][d]));
  return all;
}

static void
check(const Batch *b, const char *what)
{
  char at[100];
  for (int i = 0; i < b->n; i++)
    for (int h = 0; h < H; h++)
      if (!is_right(b, i, h)) {
        snprintf(at, sizeof at, "row %d of %d keys, head %d is wrong", i, b->length[i], h);
        die(what, at);
      }
}

static int32_t
some_length(void)
{
  static const int32_t edges[] = {0, 1, 63, 64, 65, 128, SK};
  unsigned i = below(14);
  return i < 7 ? edges[i] : (int32_t)below(SK + 1);
}

/* ---- one graph, any lengths ---- */

static void
replays(int sets)
{
  enum { B = 4 };
  static Batch b;
  Run r;
  CUgraph g;
  CUgraphExec x;
  CUstream stream;
  attnc_error e = {0};
  run_open(&r, B, 0);
  OK(session.device.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  OK(graph.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  if (attnc_launch(r.plan, &r.args, stream, NULL, &e))
    die("attnc_launch", e.message);
  OK(graph.cuStreamEndCapture(stream, &g));
  OK(graph.cuGraphInstantiateWithFlags(&x, g, 0));
  b.n = B;
  for (int set = 0; set < sets; set++) {
    for (int i = 0; i < B; i++) {
      b.who[i] = (int32_t)below(MOST_B);
      b.length[i] = some_length();
    }
    send(&r, &b);
    OK(graph.cuGraphLaunch(x, stream));
    OK(session.device.cuStreamSynchronize(stream));
    receive(&r, &b);
    check(&b, "a replay");
  }
  OK(graph.cuGraphExecDestroy(x));
  OK(graph.cuGraphDestroy(g));
  OK(session.device.cuStreamDestroy_v2(stream));
  run_close(&r);
}

/* ---- the same bits ---- */

static void
same(const Batch *a, int i, const Batch *b, int j, const char *what)
{
  if (a->length[i] != b->length[j] || memcmp(a->o[i], b->o[j], sizeof a->o[i]) ||
      memcmp(a->lse[i], b->lse[j], sizeof a->lse[i]))
    die(what, "the row has other bits");
}

static void
invariant(void)
{
  static Batch all, turned, alone;
  Run many, one;
  int step = 27, n = MOST_B; /* a permutation: the two have no divisor */
  run_open(&many, n, 0);
  run_open(&one, 1, 0);
  all.n = turned.n = n;
  alone.n = 1;
  for (int i = 0; i < n; i++) {
    all.who[i] = i;
    all.length[i] = i < 7 ? SK - i : some_length() / 4;
  }
  for (int i = 0; i < n; i++) {
    turned.who[i] = all.who[i * step % n];
    turned.length[i] = all.length[i * step % n];
  }
  launch(&many, &all);
  check(&all, "64 sequences");
  launch(&many, &turned);
  for (int i = 0; i < n; i++)
    same(&turned, i, &all, i * step % n, "in another order");
  for (int i = 0; i < n; i += 3) {
    alone.who[0] = all.who[i];
    alone.length[0] = all.length[i];
    launch(&one, &alone);
    same(&alone, 0, &all, i, "alone");
  }
  run_close(&many);
  run_close(&one);
}

static attnc_spec *
spec_of(const char *target, bool step)
{
  char spec_text[800];
  attnc_spec *s;
  snprintf(spec_text, sizeof spec_text, text, target, splitter.template, splitter.rows,
           yes_no(step));
  if (attnc_spec_load(spec_text, strlen(spec_text), "splits", &s, NULL))
    die("the spec", "does not load");
  return s;
}

static void
run_one(int n, Batch *b)
{
  Run r;
  run_open(&r, n, 0);
  launch(&r, b);
  run_close(&r);
}

/* A step adds up what the last CTA would, in its order. */
static void
same_by_last(const char *target)
{
  enum { B = 8 };
  static Batch by_step, by_last;
  attnc_spec *own = spec;
  for (int i = 0; i < B; i++) {
    by_step.who[i] = i;
    by_step.length[i] = i < 3 ? SK - i : some_length();
  }
  by_step.n = B;
  by_last = by_step;
  run_one(B, &by_step);
  spec = spec_of(target, false);
  run_one(B, &by_last);
  attnc_spec_release(spec);
  spec = own;
  for (int i = 0; i < B; i++)
    same(&by_step, i, &by_last, i, "by a step");
}

/* ---- too little room ---- */

static void
untouched(const Run *r)
{
  unsigned char guard[GUARD];
  OK(session.device.cuMemcpyDtoH_v2(guard, r->workspace + r->bytes, GUARD));
  for (int i = 0; i < GUARD; i++)
    if (guard[i] != 0xa5)
      die("too little room", "something was written past the workspace");
}

static void
overflow(int64_t max_items)
{
  static Batch b;
  Run r;
  char why[100];
  uint32_t items = 0, all = 0;
  attnc_error e = {0};
  int wrong = 0;
  run_open(&r, 8, max_items);
  b.n = 8;
  for (int i = 0; i < 8; i++) {
    b.who[i] = i;
    b.length[i] = i * 90; /* 0 to 10 parts */
    all += i ? (uint32_t)(b.length[i] + 63) / 64 : 1;
  }
  launch(&r, &b);
  if (attnc_plan_faults(r.plan, r.args.workspace, &items, &e))
    die("attnc_plan_faults", e.message);
  for (int i = 0; i < 8; i++)
    for (int h = 0; h < H; h++)
      if (!is_right(&b, i, h)) {
        wrong++;
        if (!is_nan(&b, i, h))
          die("too little room", "a row is neither right nor NaN");
      }
  uint32_t want = all > max_items ? all - (uint32_t)max_items : 0;
  snprintf(why, sizeof why, "%u items are counted, not %u; %d rows of heads are NaN", items,
           want, wrong);
  if (items != want || (want == 0) != (wrong == 0) || wrong == 8 * H * (max_items > 11))
    die("too little room", why);
  untouched(&r);
  run_close(&r);
}

/* ---- the room of large calls ---- */

/* Of 256 sequences of up to 131072 keys, 8 key heads: 32 parts each, or as many as 4,096
 * pages of 256 rows that nobody shares can have. */
static void
large(const char *target)
{
  static const char llama[] =
      "attnc: 1\nname: large\ndtype: bf16\nhead_dim: 128\ngroup_size: 4\n"
      "seqlens: [seqused_k]\nreturn_lse: true\nschedule: [{arch: %s, template: %s,\n"
      "  block_m: %d, split_keys: 512, pack_gqa: true, combine: %s}]\n";
  enum { B = 256, LONG = 131072, PARTS = 32, UNSHARED = 4096 * 256 / 512 + B };
  const size_t item = (size_t)splitter.rows * (128 * 4 + 3 * 4) + 4; /* O, sums, counter */
  char spec_text[600];
  attnc_spec *s;
  attnc_plan *p;
  attnc_error e = {0};
  attnc_sizes n = {.size = sizeof n, .b = B, .h = 32, .hk = 8, .sq = 1, .sk = LONG};
  attnc_problem problem = {.size = sizeof problem, .sizes = &n};
  snprintf(spec_text, sizeof spec_text, llama, target, splitter.template, splitter.rows,
           yes_no(splitter.step));
  if (attnc_spec_load(spec_text, strlen(spec_text), "large", &s, NULL) ||
      attnc_plan_get(session.context, s, &problem, &p, &e))
    die("large", e.message);
  for (int shared = 1; shared >= 0; shared--) {
    size_t bytes, most;
    n.max_items = shared ? 0 : UNSHARED;
    if (attnc_plan_workspace(p, &n, &bytes))
      die("large", "no workspace for the sizes");
    size_t items = shared ? (size_t)B * PARTS : UNSHARED;
    most = items * 8 * item + (items + B) * 20 + 8 + 6 * 256;
    printf("b256 hk8 sk131072, pages %sshared: %zu items a head, %zu bytes\n",
           shared ? "" : "not ", items, bytes);
    if (bytes > most || bytes < items * 8 * item)
      die("large", "the workspace is not what the items need");
  }
  attnc_plan_release(p);
  attnc_spec_release(s);
}

static void
find_splitter(const char *template, bool step)
{
  for (size_t i = 0; i < sizeof splitters / sizeof *splitters; i++)
    if (strcmp(splitters[i].template, template) == 0)
      splitter = splitters[i];
  if (!splitter.template)
    die(template, "is not known to split");
  splitter.step = step;
}

int
main(int argc, char **argv)
{
  char why[1000] = "";
  bool step = argc == 5 && strcmp(argv[4], "step") == 0;
  if (argc < 3 || argc > 5 || (argc == 5 && !step))
    die("usage", "e2e_splits TARGET SETS [TEMPLATE [step]]");
  find_splitter(argc > 3 ? argv[3] : "decode_mma", step);
  if (!session_open(&session, NULL, argv[1], why, sizeof why))
    die(argv[1], why);
  const char *missing = graph_calls(&graph, session.device.lib);
  if (missing)
    die(missing, "is missing");
  spec = spec_of(argv[1], step);
  fill(&q[0][0][0], sizeof q / 2);
  fill(&k[0][0][0][0], sizeof k / 2);
  fill(&v[0][0][0][0], sizeof v / 2);
  at_k = room(sizeof k);
  at_v = room(sizeof v);
  OK(session.device.cuMemcpyHtoD_v2(at_k, k, sizeof k));
  OK(session.device.cuMemcpyHtoD_v2(at_v, v, sizeof v));
  replays(atoi(argv[2]));
  invariant();
  if (step)
    same_by_last(argv[1]);
  for (int64_t room_for = 1; room_for < 60; room_for += 11)
    overflow(room_for);
  large(argv[1]);
  OK(session.device.cuMemFree_v2(at_k));
  OK(session.device.cuMemFree_v2(at_v));
  attnc_spec_release(spec);
  session_close(&session);
  puts("one graph serves all lengths; rows have their bits; what has no room is NaN");
  return 0;
}
