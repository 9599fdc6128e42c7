/* dealt: blocks of queries that CTAs of a dynamic schedule draw tickets for, on the
 * emulated device.
 *
 *   e2e_dealt LAUNCHES
 *
 * Under every order of CTAs, of warps and of copies, in a captured graph, on two streams at
 * once, and without workspace: the bits of the same kernel with a CTA a block, as many
 * products (each block once), nothing found, and the counter at zero in the end.  A counter
 * that was not zero is found out by the result. */
#include "tests/e2e/call.h"
#include "tests/e2e/graph.h"
#include "tests/e2e/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 140 blocks of 132 multiprocessors, of one key tile to three. */
#define PROBLEM                                                                            \
  "{dtype: bf16, head_dim: 16, causal: true, return_lse: true} b1 h70/1 sq100 sk40 "       \
  "sm_90a "                                                                                \
  "template=fwd_wgmma,block_m=64,block_n=16,num_stages=2,num_warps=8,pingpong=false"
enum { COUNTER = 4 };

static GraphCalls graph;

/* One of two calls with memory of their own. */
typedef struct Side {
  Call call;
  CUstream stream;
  CUdeviceptr counter;
} Side;

static Session session;
static Side sides[2];
static attnc_plan *plan;     /* with the schedule that is asked about */
static unsigned char *right; /* all buffers after a launch with a CTA a block */
static size_t right_bytes;
static uint64_t right_products;
static const char *doing;

static void
die(const char *what, const char *why)
{
  fprintf(stderr, "e2e_dealt: %s: %s: %s\n", doing, what, why);
  exit(1);
}

#define OK(r) ok((r), #r)
static void
ok(CUresult r, const char *what)
{
  if (r)
    die(what, device_result(&session.device, r));
}

static void
find_functions(void)
{
  const char *missing = graph_calls(&graph, session.device.lib);
  if (missing)
    die(missing, "is missing");
}

static void
configure(const char *settings)
{
  char why[200] = "";
  doing = settings;
  if (session.device.configure(settings, why, sizeof why))
    die("settings", why);
}

static attnc_plan *
plan_of(const char *scheduler)
{
  static Case c;
  char why[1000] = "", text[400];
  attnc_spec *spec = NULL;
  attnc_plan *made = NULL;
  attnc_error e = {0};
  CallAsked asked;
  doing = scheduler;
  snprintf(text, sizeof text, "%s,%s seed=3", PROBLEM, scheduler);
  if (!case_parse(text, &c, why, sizeof why))
    die(text, why);
  for (int i = 0; i < 2; i++) {
    if (spec)
      attnc_spec_release(spec);
    call_free(&sides[i].call, &session.device);
    if (!call_load(&sides[i].call, &c, &spec, why, sizeof why) ||
        !call_upload(&sides[i].call, &session.device, why, sizeof why))
      die(text, why);
  }
  call_problem(&sides[0].call, &asked);
  if (attnc_plan_get(session.context, spec, &asked.problem, &made, &e))
    die("attnc_plan_get", e.message);
  attnc_spec_release(spec);
  return made;
}

/* ---- a launch, and what comes of it ---- */

static void
launch(Side *s, bool workspace, CUstream in)
{
  attnc_error e = {0};
  attnc_args a = s->call.device_args;
  a.workspace = workspace ? (void *)(uintptr_t)s->counter : NULL;
  a.workspace_bytes = workspace ? COUNTER : 0;
  if (attnc_launch(plan, &a, in, NULL, &e))
    die("attnc_launch", e.message);
}

/* Outputs as if nothing had been written. */
static void
clear(const Side *s)
{
  for (int i = 0; i < s->call.n_buffers; i++) {
    const Buffer *b = &s->call.buffers[i];
    OK(session.device.cuMemcpyHtoD_v2(b->at, b->sent, b->bytes));
  }
}

/* Everything on the device after what was done, malloc'd. */
static unsigned char *
take(const Side *s, size_t *n)
{
  unsigned char *all = NULL;
  *n = 0;
  for (int i = 0; i < s->call.n_buffers; i++) {
    const Buffer *b = &s->call.buffers[i];
    all = realloc(all, *n + b->bytes);
    if (!all)
      die("realloc", "no memory");
    OK(session.device.cuMemcpyDtoH_v2(all + *n, b->at, b->bytes));
    *n += b->bytes;
  }
  return all;
}

static void
no_findings(void)
{
  char text[4000];
  OK(session.device.cuCtxSynchronize());
  if (device_findings(&session.device, text, sizeof text))
    die("found", text);
}

/* The counter is at zero, and everything as with a CTA a block. */
static bool
is_right(const Side *s)
{
  size_t n;
  unsigned counter = 1;
  unsigned char *all = take(s, &n);
  bool same = n == right_bytes && !memcmp(all, right, n);
  OK(session.device.cuMemcpyDtoH_v2(&counter, s->counter, sizeof counter));
  free(all);
  return same && !counter;
}

static void
check(const Side *s)
{
  no_findings();
  if (!is_right(s))
    die("a launch", "gives other bits than a CTA a block, or leaves tickets behind");
}

static uint64_t
products(void)
{
  attncEmuStats x = {.size = sizeof x};
  session.device.stats(&x);
  session.device.reset();
  return x.macs;
}

/* ---- what is asked ---- */

static void
many_launches(unsigned launches)
{
  static const char *const settings[] = {
      "ctas=forward,async=lazy,sched=block,seed=1",
      "ctas=reverse,async=eager,sched=rr,seed=2",
      "ctas=random,async=random,sched=random,seed=3",
      "ctas=random,async=eager,sched=random,resident=1,seed=4",
      "ctas=random,async=lazy,sched=rr,resident=64,seed=5",
  };
  enum { N = sizeof settings / sizeof *settings };
  for (int i = 0; i < N; i++) {
    configure(settings[i]);
    clear(&sides[0]);
    products();
    for (unsigned k = 0; k < launches / N; k++)
      launch(&sides[0], true, NULL);
    check(&sides[0]);
    if (products() != right_products * (launches / N))
      die("products", "some block was computed twice, or not at all");
  }
}

static void
without_workspace(void)
{
  configure("ctas=random,async=random,sched=random,seed=6");
  clear(&sides[0]);
  launch(&sides[0], false, NULL);
  check(&sides[0]);
}

static void
graph_replays(void)
{
  CUgraph g;
  CUgraphExec x;
  Side *s = &sides[0];
  configure("ctas=random,async=random,sched=random,seed=7");
  OK(graph.cuStreamBeginCapture_v2(s->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  launch(s, true, s->stream);
  launch(s, true, s->stream);
  OK(graph.cuStreamEndCapture(s->stream, &g));
  OK(graph.cuGraphInstantiateWithFlags(&x, g, 0));
  for (int turn = 0; turn < 3; turn++) {
    clear(s);
    OK(graph.cuGraphLaunch(x, s->stream));
    check(s);
  }
  OK(graph.cuGraphExecDestroy(x));
  OK(graph.cuGraphDestroy(g));
}

/* One plan in flight twice, with a workspace each. */
static void
two_streams(void)
{
  configure("ctas=random,async=random,sched=random,seed=8");
  for (int i = 0; i < 2; i++)
    clear(&sides[i]);
  for (int k = 0; k < 4; k++)
    launch(&sides[k % 2], true, sides[k % 2].stream);
  check(&sides[0]);
  check(&sides[1]);
}

/* What would be computed with a counter that somebody left at 7. */
static void
wrong_counter(void)
{
  const unsigned seven = 7, zero = 0;
  configure("ctas=forward,async=lazy,sched=block,seed=9");
  clear(&sides[0]);
  OK(session.device.cuMemcpyHtoD_v2(sides[0].counter, &seven, sizeof seven));
  launch(&sides[0], true, NULL);
  no_findings();
  if (is_right(&sides[0]))
    die("a counter of 7", "makes no difference");
  OK(session.device.cuMemcpyHtoD_v2(sides[0].counter, &zero, sizeof zero));
}

int
main(int argc, char **argv)
{
  static const char *const asked[] = {"scheduler=dynamic,q_stages=1",
                                      "scheduler=dynamic,q_stages=2"};
  char why[1000] = "";
  const unsigned zero = 0;
  doing = "start";
  if (argc != 2)
    die("usage", "e2e_dealt LAUNCHES");
  if (!session_open(&session, NULL, "sm_90a", why, sizeof why))
    die("session", why);
  find_functions();
  for (int i = 0; i < 2; i++) {
    OK(session.device.cuStreamCreate(&sides[i].stream, CU_STREAM_NON_BLOCKING));
    OK(session.device.cuMemAlloc_v2(&sides[i].counter, COUNTER));
    OK(session.device.cuMemcpyHtoD_v2(sides[i].counter, &zero, sizeof zero));
  }
  plan = plan_of("scheduler=grid");
  products();
  launch(&sides[0], true, NULL);
  no_findings();
  right = take(&sides[0], &right_bytes);
  right_products = products();
  attnc_plan_release(plan);
  for (int i = 0; i < 2; i++) {
    plan = plan_of(asked[i]);
    if (attnc_plan_zeroed_bytes(plan) != COUNTER)
      die("attnc_plan_zeroed_bytes", "is not the counter");
    many_launches((unsigned)atoi(argv[1]));
    without_workspace();
    graph_replays();
    two_streams();
    wrong_counter();
    attnc_plan_release(plan);
  }
  free(right);
  for (int i = 0; i < 2; i++) {
    call_free(&sides[i].call, &session.device);
    OK(session.device.cuMemFree_v2(sides[i].counter));
    OK(session.device.cuStreamDestroy_v2(sides[i].stream));
  }
  session_close(&session);
  puts("each block once, in whatever order");
  return 0;
}
