/* Graphs that are built node by node: their order, their parts, their instances. */
#include "tests/unit/emu_kit.h"

/* p[thread] = p[thread] * factor + 1 */
static const char step[] =
    KIT_HEAD("8.0", "sm_90") ".visible .entry k(.param .u64 p, .param .u32 factor) {\n"
                             ".reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
                             "ld.param.u64 %rd1, [p]; ld.param.u32 %r3, [factor];\n"
                             "mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
                             "add.s64 %rd2, %rd1, %rd2;\n"
                             "ld.global.u32 %r2, [%rd2];\n"
                             "mad.lo.u32 %r2, %r2, %r3, 1;\n"
                             "st.global.u32 [%rd2], %r2;\nret;\n}\n";

enum { THREADS = 32, BYTES = 4 * THREADS, MOST = 8 };

typedef struct Fix {
  CUmodule m;
  CUfunction f;
  CUstream s;
  CUgraph g;
  CUdeviceptr p, q;
} Fix;

static int
start(void **state)
{
  static Fix x;
  x.f = kit_function(step, &x.m);
  OK(cuStreamCreate(&x.s, CU_STREAM_NON_BLOCKING));
  OK(cuGraphCreate(&x.g, 0));
  OK(cuMemAlloc_v2(&x.p, BYTES));
  OK(cuMemAlloc_v2(&x.q, BYTES));
  OK(cuMemsetD8_v2(x.p, 0, BYTES));
  OK(cuMemsetD8_v2(x.q, 0, BYTES));
  OK(cuCtxSynchronize());
  *state = &x;
  return 0;
}

static int
stop(void **state)
{
  Fix *x = *state;
  OK(cuGraphDestroy(x->g));
  OK(cuStreamDestroy_v2(x->s));
  OK(cuMemFree_v2(x->p));
  OK(cuMemFree_v2(x->q));
  OK(cuModuleUnload(x->m));
  kit_set("nodes=forward,seed=0");
  kit_no_findings();
  return 0;
}

static CUDA_KERNEL_NODE_PARAMS_v2
kernel_params(const Fix *x, void **params)
{
  return (CUDA_KERNEL_NODE_PARAMS_v2){.func = x->f,
                                      .gridDimX = 1,
                                      .gridDimY = 1,
                                      .gridDimZ = 1,
                                      .blockDimX = THREADS,
                                      .blockDimY = 1,
                                      .blockDimZ = 1,
                                      .kernelParams = params};
}

static CUgraphNode
kernel(const Fix *x, CUdeviceptr p, uint32_t factor, const CUgraphNode *deps, size_t n)
{
  CUgraphNode node;
  const CUDA_KERNEL_NODE_PARAMS_v2 k = kernel_params(x, (void *[]){&p, &factor});
  OK(cuGraphAddKernelNode_v2(&node, x->g, deps, n, &k));
  return node;
}

static CUDA_MEMSET_NODE_PARAMS
set_params(CUdeviceptr p, unsigned value)
{
  return (CUDA_MEMSET_NODE_PARAMS){p, 0, value, 4, THREADS, 1};
}

static CUgraphNode
set(const Fix *x, CUdeviceptr p, unsigned value, const CUgraphNode *deps, size_t n)
{
  CUgraphNode node;
  const CUDA_MEMSET_NODE_PARAMS s = set_params(p, value);
  OK(cuGraphAddMemsetNode(&node, x->g, deps, n, &s, NULL));
  return node;
}

static CUDA_MEMCPY3D
copy_params(CUdeviceptr to, CUdeviceptr from)
{
  return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                         .srcDevice = from,
                         .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                         .dstDevice = to,
                         .WidthInBytes = BYTES,
                         .Height = 1,
                         .Depth = 1};
}

static CUgraphNode
copy(const Fix *x, CUdeviceptr to, CUdeviceptr from, const CUgraphNode *deps, size_t n)
{
  CUgraphNode node;
  const CUDA_MEMCPY3D c = copy_params(to, from);
  OK(cuGraphAddMemcpyNode(&node, x->g, deps, n, &c, NULL));
  return node;
}

static CUgraphExec
instance(CUgraph g)
{
  CUgraphExec e;
  OK(cuGraphInstantiateWithFlags(&e, g, 0));
  return e;
}

static void
run(const Fix *x, CUgraphExec e)
{
  OK(cuGraphLaunch(e, x->s));
  OK(cuStreamSynchronize(x->s));
}

static uint32_t
word(CUdeviceptr p)
{
  uint32_t words[THREADS];
  OK(cuMemcpyDtoH_v2(words, p, BYTES));
  for (int i = 1; i < THREADS; i++)
    assert_int_equal(words[i], words[0]);
  return words[0];
}

static void
is_word(CUdeviceptr p, uint32_t want)
{
  assert_int_equal(word(p), want);
}

/* memset, kernel, kernel: right in every order of nodes; and without one of its edges there
 * is a finding, whatever the order. */
static void
three_steps(void **state)
{
  static const char *const orders[] = {"nodes=forward", "nodes=reverse",
                                       "nodes=random,seed=1", "nodes=random,seed=2"};
  Fix *x = *state;
  CUgraphNode n[3];
  n[0] = set(x, x->p, 5, NULL, 0);
  n[1] = kernel(x, x->p, 2, &n[0], 1);
  n[2] = kernel(x, x->p, 3, &n[1], 1);
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
    kit_set(orders[i]);
    CUgraphExec e = instance(x->g);
    run(x, e);
    run(x, e);
    is_word(x->p, 34);
    kit_no_findings();
    OK(cuGraphExecDestroy(e));
    for (int k = 0; k < 2; k++) {
      OK(cuGraphRemoveDependencies(x->g, &n[k], &n[k + 1], 1));
      e = instance(x->g);
      run(x, e);
      kit_found("error[stream-order]");
      OK(cuGraphExecDestroy(e));
      OK(cuGraphAddDependencies(x->g, &n[k], &n[k + 1], 1));
    }
  }
}

/* What of two nodes without an edge is a conflict: the second in the order tells. */
typedef enum What { SET_P, SET_Q, STEP_P, STEP_Q, COPY_PQ, COPY_QP } What;

static CUgraphNode
add(const Fix *x, What what)
{
  return what == SET_P     ? set(x, x->p, 1, NULL, 0)
         : what == SET_Q   ? set(x, x->q, 1, NULL, 0)
         : what == STEP_P  ? kernel(x, x->p, 1, NULL, 0)
         : what == STEP_Q  ? kernel(x, x->q, 1, NULL, 0)
         : what == COPY_PQ ? copy(x, x->p, x->q, NULL, 0)
                           : copy(x, x->q, x->p, NULL, 0);
}

static const struct {
  What a, b;
  const char *found; /* NULL: nothing */
} pairs[] = {
    {SET_P, SET_Q, NULL},
    {SET_P, SET_P, "a memset writes [0x"},
    {SET_P, STEP_P, "reads global memory at 0x"},
    {STEP_P, SET_P, "where kernel k has been at line 11: no stream, event"},
    {STEP_P, STEP_P, "which kernel k writes at line 11: no stream"},
    {STEP_P, STEP_Q, NULL},
    {STEP_P, COPY_QP, "a copy reads [0x"},
    {STEP_P, COPY_PQ, "a copy writes [0x"},
    {COPY_PQ, STEP_Q, "writes global memory at 0x"}, /* both read it first */
    {COPY_PQ, SET_Q, "where a copy has been"},
    {COPY_PQ, COPY_PQ, "a copy writes"},
    {SET_Q, STEP_P, NULL},
};

static void
conflicts(void **state)
{
  Fix *x = *state;
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    CUgraphNode a = add(x, pairs[i].a), b = add(x, pairs[i].b);
    CUgraphExec apart = instance(x->g);
    OK(cuGraphAddDependencies(x->g, &a, &b, 1));
    CUgraphExec ordered = instance(x->g);
    run(x, ordered);
    kit_no_findings();
    run(x, apart);
    const char *text = kit_findings();
    if (pairs[i].found ? !strstr(text, pairs[i].found) : *text)
      fail_msg("pair %zu: %s", i, text);
    OK(cuGraphExecDestroy(apart));
    OK(cuGraphExecDestroy(ordered));
    OK(cuGraphDestroyNode(a));
    OK(cuGraphDestroyNode(b));
  }
}

/* ---- random graphs against a model ---- */

/* q[thread] = p[thread] + 1 */
static const char move[] =
    KIT_HEAD("8.0", "sm_90") ".visible .entry k(.param .u64 p, .param .u64 q) {\n"
                             ".reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
                             "ld.param.u64 %rd1, [p]; ld.param.u64 %rd3, [q];\n"
                             "mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
                             "add.s64 %rd1, %rd1, %rd2; add.s64 %rd3, %rd3, %rd2;\n"
                             "ld.global.u32 %r2, [%rd1];\nadd.u32 %r2, %r2, 1;\n"
                             "st.global.u32 [%rd3], %r2;\nret;\n}\n";

enum { BUFFERS = 3, DRAWN = 7 };

typedef struct Drawn {
  enum { MOVES, COPIES, SETS } kind;
  int from, to; /* buffers; a memset reads its own */
  uint32_t value;
  bool behind[DRAWN]; /* nodes that it is behind, all of them */
} Drawn;

static uint64_t
draw(uint64_t *x, uint64_t n)
{
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x % n;
}

static CUgraphNode
draw_node(const Fix *x, const CUdeviceptr *p, const Drawn *a, const CUgraphNode *deps,
          size_t n)
{
  CUdeviceptr from = p[a->from], to = p[a->to];
  CUgraphNode node;
  if (a->kind == COPIES)
    return copy(x, to, from, deps, n);
  if (a->kind == SETS)
    return set(x, to, a->value, deps, n);
  const CUDA_KERNEL_NODE_PARAMS_v2 k = kernel_params(x, (void *[]){&from, &to});
  OK(cuGraphAddKernelNode_v2(&node, x->g, deps, n, &k));
  return node;
}

static bool
meet(const Drawn *a, const Drawn *b)
{
  bool reads_a = a->kind != SETS, reads_b = b->kind != SETS;
  return a->to == b->to || (reads_a && a->from == b->to) || (reads_b && b->from == a->to);
}

/* n nodes with edges from some of the earlier ones; does any pair meet without order? */
static bool
draw_graph(Fix *x, const CUdeviceptr *p, uint64_t *random, Drawn *all, int n)
{
  CUgraphNode nodes[DRAWN], deps[DRAWN];
  bool apart = false;
  for (int i = 0; i < n; i++) {
    Drawn *a = &all[i];
    size_t n_deps = 0;
    *a = (Drawn){.kind = draw(random, 4) < 2 ? MOVES
                         : draw(random, 2)   ? COPIES
                                             : SETS,
                 .from = (int)draw(random, BUFFERS),
                 .value = (uint32_t)draw(random, 100)};
    a->to = (a->from + 1 + (int)draw(random, BUFFERS - 1)) % BUFFERS;
    for (int k = i; k-- > 0;) {
      if (a->behind[k] || draw(random, 3) == 0)
        continue;
      deps[n_deps++] = nodes[k];
      a->behind[k] = true;
      for (int j = 0; j < k; j++)
        a->behind[j] |= all[k].behind[j];
    }
    for (int k = 0; k < i; k++)
      apart |= !a->behind[k] && meet(a, &all[k]);
    nodes[i] = draw_node(x, p, a, deps, n_deps);
  }
  return apart;
}

static void
simulate(const Drawn *all, int n, uint32_t word_of[BUFFERS])
{
  for (int i = 0; i < n; i++)
    word_of[all[i].to] =
        all[i].kind == SETS ? all[i].value : word_of[all[i].from] + (all[i].kind == MOVES);
}

/* There is a finding exactly where two nodes without order meet; without one the results
 * are those of any order. */
static void
random_graphs(void **state)
{
  Fix *x = *state;
  CUmodule m;
  CUdeviceptr p[BUFFERS];
  CUfunction f = x->f;
  uint64_t random = 0x243f6a8885a308d3;
  int found = 0, right = 0;
  x->f = kit_function(move, &m);
  kit_set("nodes=random,seed=3");
  for (int i = 0; i < BUFFERS; i++)
    OK(cuMemAlloc_v2(&p[i], BYTES));
  for (int i = 0; i < 600; i++) {
    Drawn all[DRAWN];
    uint32_t want[BUFFERS];
    CUgraph mine = x->g;
    int n = 2 + (int)draw(&random, DRAWN - 1);
    OK(cuGraphCreate(&x->g, 0));
    bool apart = draw_graph(x, p, &random, all, n);
    for (uint32_t k = 0; k < BUFFERS; k++) {
      want[k] = 1000 * k;
      OK(cuMemsetD32Async(p[k], want[k], THREADS, x->s));
    }
    CUgraphExec e = instance(x->g);
    run(x, e);
    const char *text = kit_findings();
    if (apart ? !strstr(text, "error[stream-order]") : *text)
      fail_msg("graph %d of %d nodes, %s: %s", i, n, apart ? "apart" : "ordered", text);
    simulate(all, n, want);
    for (int k = 0; k < BUFFERS && !apart; k++)
      is_word(p[k], want[k]);
    found += apart;
    right += !apart;
    OK(cuGraphExecDestroy(e));
    OK(cuGraphDestroy(x->g));
    x->g = mine;
  }
  assert_true(found > 100 && right > 100);
  x->f = f;
  for (int i = 0; i < BUFFERS; i++)
    OK(cuMemFree_v2(p[i]));
  OK(cuModuleUnload(m));
}

/* Host functions without edges: which order they ran in. */
static char trace[2 * MOST + 1];

static void
note(void *data)
{
  strncat(trace, data, 1);
}

static void
orders(void **state)
{
  static char names[] = "abcd";
  Fix *x = *state;
  CUgraphNode n[4];
  for (int i = 0; i < 4; i++) {
    const CUDA_HOST_NODE_PARAMS h = {note, &names[i]};
    OK(cuGraphAddHostNode(&n[i], x->g, i == 3 ? &n[1] : NULL, i == 3, &h));
  }
  CUgraphExec e = instance(x->g);
  run(x, e);
  assert_string_equal(trace, "abcd");
  *trace = 0;
  kit_set("nodes=reverse");
  run(x, e);
  assert_string_equal(trace, "cbda");
  char seen[20][5];
  int differ = 0;
  kit_set("nodes=random,seed=7");
  for (int i = 0; i < 20; i++) {
    *trace = 0;
    run(x, e);
    assert_int_equal(strlen(trace), 4);
    assert_true(strchr(trace, 'b') < strchr(trace, 'd'));
    snprintf(seen[i], sizeof seen[i], "%s", trace);
    differ += i && strcmp(seen[i], seen[0]) != 0;
  }
  assert_true(differ > 5);
  OK(cuGraphExecDestroy(e));
}

static void
queries(void **state)
{
  Fix *x = *state;
  CUgraphNode n[4], got[MOST], to[MOST], stray = (CUgraphNode)x;
  CUgraphNodeType type;
  size_t k;
  n[0] = set(x, x->p, 1, NULL, 0);
  n[1] = kernel(x, x->p, 1, n, 1);
  n[2] = copy(x, x->q, x->p, n + 1, 1);
  OK(cuGraphAddEmptyNode(&n[3], x->g, n, 3));
  k = MOST;
  OK(cuGraphGetNodes(x->g, got, &k));
  assert_int_equal(k, 4);
  assert_memory_equal(got, n, sizeof n);
  assert_null(got[4]);
  k = 2;
  OK(cuGraphGetNodes(x->g, got, &k));
  assert_int_equal(k, 2);
  OK(cuGraphGetRootNodes(x->g, NULL, &k));
  assert_int_equal(k, 1);
  k = MOST;
  OK(cuGraphGetEdges(x->g, got, to, &k));
  assert_int_equal(k, 5);
  assert_true(got[0] == n[0] && to[0] == n[1]);
  k = MOST;
  OK(cuGraphNodeGetDependencies(n[3], got, &k));
  assert_int_equal(k, 3);
  assert_memory_equal(got, n, 3 * sizeof *n);
  k = MOST;
  OK(cuGraphNodeGetDependentNodes(n[0], got, &k));
  assert_int_equal(k, 2);
  assert_true(got[0] == n[1] && got[1] == n[3]);
  OK(cuGraphNodeGetType(n[2], &type));
  assert_int_equal(type, CU_GRAPH_NODE_TYPE_MEMCPY);
  assert_int_equal(cuGraphNodeGetType(stray, &type), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphGetNodes((CUgraph)x, NULL, &k), CUDA_ERROR_INVALID_VALUE);
  /* edges */
  assert_int_equal(cuGraphAddDependencies(x->g, &n[0], &n[1], 1), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphAddDependencies(x->g, &n[0], &n[0], 1), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphAddDependencies(x->g, &stray, &n[0], 1),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphRemoveDependencies(x->g, &n[2], &n[0], 1),
                   CUDA_ERROR_INVALID_VALUE);
  const CUgraphEdgeData early = {.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC,
                                 .from_port = KERNEL_PORT_PROGRAMMATIC};
  assert_int_equal(cuGraphAddDependencies_v2(x->g, &n[0], &n[2], &early, 1),
                   CUDA_ERROR_INVALID_VALUE); /* not of kernels */
  OK(cuGraphDestroyNode(n[1]));
  OK(cuGraphGetEdges(x->g, NULL, NULL, &k));
  assert_int_equal(k, 2);
}

/* A graph with a cycle has no instance; the driver says which node is in it. */
static void
cycle(void **state)
{
  Fix *x = *state;
  CUgraphNode n[3];
  CUgraphExec e;
  CUDA_GRAPH_INSTANTIATE_PARAMS p = {0};
  n[0] = set(x, x->p, 1, NULL, 0);
  n[1] = kernel(x, x->p, 1, n, 1);
  n[2] = kernel(x, x->p, 1, n + 1, 1);
  OK(cuGraphAddDependencies(x->g, &n[2], &n[1], 1));
  assert_int_equal(cuGraphInstantiateWithFlags(&e, x->g, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphInstantiateWithParams(&e, x->g, &p), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(p.result_out, CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE);
  assert_true(p.hErrNode_out == n[1] || p.hErrNode_out == n[2]);
  p.flags = CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
  assert_int_equal(cuGraphInstantiateWithParams(&e, x->g, &p), CUDA_ERROR_NOT_SUPPORTED);
}

/* Parameters of nodes, of the graph and of an instance, one without the other. */
static void
parameters(void **state)
{
  Fix *x = *state;
  CUDA_KERNEL_NODE_PARAMS_v2 k;
  CUDA_KERNEL_NODE_PARAMS_v1 old;
  CUDA_MEMSET_NODE_PARAMS s;
  CUDA_MEMCPY3D c;
  uint32_t factor = 10;
  CUgraphNode n[3];
  n[0] = set(x, x->p, 2, NULL, 0);
  n[1] = kernel(x, x->p, 3, n, 1);
  n[2] = copy(x, x->q, x->p, n + 1, 1);
  CUgraphExec e = instance(x->g);
  OK(cuGraphKernelNodeGetParams_v2(n[1], &k));
  assert_true(k.func == x->f && k.blockDimX == THREADS);
  assert_int_equal(*(uint32_t *)k.kernelParams[1], 3);
  OK(cuGraphKernelNodeGetParams(n[1], &old));
  assert_int_equal(*(uint32_t *)old.kernelParams[1], 3);
  k = kernel_params(x, (void *[]){&x->p, &factor});
  OK(cuGraphKernelNodeSetParams_v2(n[1], &k));
  run(x, e);
  is_word(x->q, 7); /* the instance has its own */
  OK(cuGraphExecKernelNodeSetParams_v2(e, n[1], &k));
  run(x, e);
  is_word(x->q, 21);
  OK(cuGraphMemsetNodeGetParams(n[0], &s));
  assert_int_equal(s.value, 2);
  s.value = 4;
  OK(cuGraphExecMemsetNodeSetParams(e, n[0], &s, NULL));
  run(x, e);
  is_word(x->q, 41);
  OK(cuGraphMemcpyNodeGetParams(n[2], &c));
  assert_true(c.srcDevice == x->p);
  c.WidthInBytes = 4;
  OK(cuGraphExecMemcpyNodeSetParams(e, n[2], &c, NULL));
  s.value = 5;
  OK(cuGraphExecMemsetNodeSetParams(e, n[0], &s, NULL));
  run(x, e);
  uint32_t two[2];
  OK(cuMemcpyDtoH_v2(two, x->q, sizeof two));
  assert_int_equal(two[0], 51);
  assert_int_equal(two[1], 41);
  /* refused ones leave the node as it was */
  s.elementSize = 3;
  assert_int_equal(cuGraphMemsetNodeSetParams(n[0], &s), CUDA_ERROR_INVALID_VALUE);
  c.WidthInBytes = BYTES + 1;
  assert_int_equal(cuGraphMemcpyNodeSetParams(n[2], &c), CUDA_ERROR_INVALID_VALUE);
  k.blockDimX = 2000;
  assert_int_equal(cuGraphExecKernelNodeSetParams_v2(e, n[1], &k),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphExecKernelNodeSetParams_v2(e, n[0], &k),
                   CUDA_ERROR_INVALID_VALUE);
  /* nodes that are switched off */
  unsigned on = 7;
  OK(cuGraphNodeSetEnabled(e, n[1], 0));
  OK(cuGraphNodeGetEnabled(e, n[1], &on));
  assert_int_equal(on, 0);
  run(x, e);
  is_word(x->p, 5);
  OK(cuGraphExecDestroy(e));
}

static void
update(void **state)
{
  Fix *x = *state;
  CUgraph other = x->g, first;
  CUgraphExecUpdateResultInfo info;
  CUgraphExecUpdateResult result;
  CUgraphNode n[3], bad;
  n[0] = set(x, x->p, 1, NULL, 0);
  n[1] = kernel(x, x->p, 2, n, 1);
  CUgraphExec e = instance(x->g);
  OK(cuGraphCreate(&first, 0));
  x->g = first;
  n[0] = set(x, x->p, 7, NULL, 0);
  n[1] = kernel(x, x->p, 5, n, 1);
  OK(cuGraphExecUpdate_v2(e, x->g, &info));
  assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
  run(x, e);
  is_word(x->p, 36);
  /* an edge less, a node more, another kind */
  OK(cuGraphRemoveDependencies(x->g, &n[0], &n[1], 1));
  assert_int_equal(cuGraphExecUpdate_v2(e, x->g, &info),
                   CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  assert_true(info.errorNode == n[1]);
  OK(cuGraphAddDependencies(x->g, &n[0], &n[1], 1));
  n[2] = set(x, x->q, 7, NULL, 0);
  assert_int_equal(cuGraphExecUpdate(e, x->g, &bad, &result),
                   CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  assert_int_equal(result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  OK(cuGraphDestroyNode(n[1]));
  OK(cuGraphDestroyNode(n[2]));
  n[1] = set(x, x->p, 9, n, 1);
  assert_int_equal(cuGraphExecUpdate_v2(e, x->g, &info),
                   CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
  run(x, e);
  is_word(x->p, 36); /* as it was */
  OK(cuGraphExecDestroy(e));
  OK(cuGraphDestroy(first));
  x->g = other;
}

/* A child is a copy; a clone's nodes are found by their originals. */
static void
children_and_clones(void **state)
{
  Fix *x = *state;
  CUgraph outer, inside, twin;
  CUgraphNode n[2], child, behind, found;
  n[0] = set(x, x->p, 1, NULL, 0);
  n[1] = kernel(x, x->p, 1, n, 1);
  OK(cuGraphCreate(&outer, 0));
  OK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, x->g));
  OK(cuGraphChildGraphNodeGetGraph(child, &inside));
  assert_int_equal(cuGraphDestroy(inside), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphAddChildGraphNode(&behind, outer, NULL, 0, (CUgraph)x),
                   CUDA_ERROR_INVALID_VALUE);
  CUgraph mine = x->g;
  x->g = outer;
  behind = kernel(x, x->p, 10, &child, 1);
  x->g = mine;
  OK(cuGraphClone(&twin, outer));
  OK(cuGraphNodeFindInClone(&found, behind, twin));
  assert_true(found != behind);
  assert_int_equal(cuGraphNodeFindInClone(&found, n[0], twin), CUDA_ERROR_INVALID_VALUE);
  CUgraphExec e = instance(twin);
  OK(cuGraphDestroy(twin));
  run(x, e);
  is_word(x->p, 21);
  /* the child of an instance is another graph of the same shape */
  CUDA_MEMSET_NODE_PARAMS s = set_params(x->p, 4);
  OK(cuGraphMemsetNodeSetParams(n[0], &s));
  CUgraphExec f = instance(outer);
  OK(cuGraphExecChildGraphNodeSetParams(f, child, x->g));
  run(x, f);
  is_word(x->p, 51);
  OK(cuGraphExecDestroy(e));
  OK(cuGraphExecDestroy(f));
  OK(cuGraphDestroy(outer));
}

/* An event of a graph orders what waits for it. */
static void
events(void **state)
{
  Fix *x = *state;
  CUstream t;
  CUevent e, other, got;
  CUgraphNode n[2];
  OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  n[0] = set(x, x->p, 1, NULL, 0);
  OK(cuEventCreate(&other, CU_EVENT_DISABLE_TIMING));
  OK(cuGraphAddEventRecordNode(&n[1], x->g, n, 1, other));
  OK(cuGraphEventRecordNodeSetEvent(n[1], e));
  OK(cuGraphEventRecordNodeGetEvent(n[1], &got));
  assert_true(got == e);
  assert_int_equal(cuGraphEventWaitNodeGetEvent(n[1], &got), CUDA_ERROR_INVALID_VALUE);
  CUgraphExec g = instance(x->g);
  for (int waits = 0; waits < 2; waits++) {
    OK(cuGraphLaunch(g, x->s));
    if (waits)
      OK(cuStreamWaitEvent(t, e, 0));
    OK(cuMemsetD8Async(x->p, 0, BYTES, t));
    const char *text = kit_findings();
    assert_true(waits ? !*text : strstr(text, "error[stream-order]") != NULL);
    OK(cuCtxSynchronize());
  }
  /* the instance records another one: e is of earlier launches */
  OK(cuGraphExecEventRecordNodeSetEvent(g, n[1], other));
  OK(cuGraphLaunch(g, x->s));
  OK(cuStreamWaitEvent(t, e, 0));
  OK(cuMemsetD8Async(x->p, 0, BYTES, t));
  kit_found("error[stream-order]");
  OK(cuCtxSynchronize());
  OK(cuGraphExecDestroy(g));
  OK(cuEventDestroy_v2(e));
  OK(cuEventDestroy_v2(other));
  OK(cuStreamDestroy_v2(t));
}

/* Attributes of kernel nodes: those that have a value are kept, the others are checked. */
static void
attributes(void **state)
{
  Fix *x = *state;
  CUlaunchAttributeValue v = {.cooperative = 1}, got;
  CUgraphNode a = kernel(x, x->p, 1, NULL, 0), b = kernel(x, x->p, 1, &a, 1), empty;
  OK(cuGraphAddEmptyNode(&empty, x->g, NULL, 0));
  OK(cuGraphKernelNodeSetAttribute(a, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &v));
  v.clusterDim.x = v.clusterDim.y = v.clusterDim.z = 1;
  OK(cuGraphKernelNodeSetAttribute(a, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &v));
  v.clusterDim.x = 2; /* the grid has one */
  assert_int_equal(
      cuGraphKernelNodeSetAttribute(a, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &v),
      CUDA_ERROR_INVALID_CLUSTER_SIZE);
  v.priority = -3;
  OK(cuGraphKernelNodeSetAttribute(a, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
  OK(cuGraphKernelNodeCopyAttributes(b, a));
  OK(cuGraphKernelNodeGetAttribute(b, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &got));
  assert_int_equal(got.cooperative, 1);
  OK(cuGraphKernelNodeGetAttribute(b, CU_LAUNCH_ATTRIBUTE_PRIORITY, &got));
  assert_int_equal(got.priority, -3);
  OK(cuGraphKernelNodeGetAttribute(b, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &got));
  assert_int_equal(got.clusterDim.x, 1);
  assert_int_equal(cuGraphKernelNodeSetAttribute(empty, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphKernelNodeSetAttribute(
                       a, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, &v),
                   CUDA_ERROR_INVALID_VALUE);
  CUgraphExec e = instance(x->g);
  run(x, e);
  is_word(x->p, 2);
  OK(cuGraphExecDestroy(e));
}

static void
picture(void **state)
{
  static const char path[] = "emu_graph.dot";
  Fix *x = *state;
  char text[1000] = "";
  CUgraphNode n = set(x, x->p, 1, NULL, 0);
  kernel(x, x->p, 1, &n, 1);
  OK(cuGraphDebugDotPrint(x->g, path, 0));
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  assert_true(fread(text, 1, sizeof text - 1, f) > 0);
  fclose(f);
  remove(path);
  assert_non_null(strstr(text, "[label=\"memset\"];"));
  assert_non_null(strstr(text, "[label=\"kernel k\"];"));
  assert_non_null(strstr(text, " -> "));
  assert_int_equal(cuGraphDebugDotPrint(x->g, "nowhere/at/all", 0),
                   CUDA_ERROR_OPERATING_SYSTEM);
}

/* Rows with gaps between them; elements of two bytes. */
static void
rows(void **state)
{
  Fix *x = *state;
  uint16_t host[BYTES / 2];
  CUgraphNode n[2];
  const CUDA_MEMSET_NODE_PARAMS s = {x->p + 2, 16, 0xabcd, 2, 3, 4};
  CUDA_MEMCPY3D c = copy_params(x->q, x->p);
  c.WidthInBytes = 6;
  c.srcXInBytes = 2;
  c.srcPitch = 16;
  c.dstPitch = 8;
  c.Height = 4;
  OK(cuGraphAddMemsetNode(&n[0], x->g, NULL, 0, &s, NULL));
  OK(cuGraphAddMemcpyNode(&n[1], x->g, n, 1, &c, NULL));
  CUgraphExec e = instance(x->g);
  run(x, e);
  OK(cuMemcpyDtoH_v2(host, x->p, BYTES));
  for (int i = 0; i < BYTES / 2; i++)
    assert_int_equal(host[i], i / 8 < 4 && i % 8 >= 1 && i % 8 <= 3 ? 0xabcd : 0);
  OK(cuMemcpyDtoH_v2(host, x->q, BYTES));
  for (int i = 0; i < BYTES / 2; i++)
    assert_int_equal(host[i], i / 4 < 4 && i % 4 < 3 ? 0xabcd : 0);
  OK(cuGraphExecDestroy(e));
}

/* One instance's launches follow each other, in whatever streams; two instances' do not. */
static void
instances(void **state)
{
  Fix *x = *state;
  CUstream t;
  OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
  kernel(x, x->p, 1, NULL, 0);
  CUgraphExec a = instance(x->g), b = instance(x->g);
  OK(cuGraphLaunch(a, x->s));
  OK(cuGraphLaunch(a, t));
  OK(cuCtxSynchronize());
  kit_no_findings();
  OK(cuGraphLaunch(a, x->s));
  OK(cuGraphLaunch(b, t));
  kit_found("error[stream-order]");
  OK(cuCtxSynchronize());
  is_word(x->p, 4);
  OK(cuGraphExecDestroy(a));
  assert_int_equal(cuGraphLaunch(a, t), CUDA_ERROR_INVALID_VALUE);
  OK(cuGraphExecDestroy(b));
  OK(cuStreamDestroy_v2(t));
}

/* A node whose kernel is gone fails, and the graph with it. */
static void
unloaded(void **state)
{
  Fix *x = *state;
  CUmodule m;
  CUfunction f = x->f;
  x->f = kit_function(step, &m);
  CUgraphNode node = kernel(x, x->p, 1, NULL, 0);
  CUDA_KERNEL_NODE_PARAMS_v2 k;
  x->f = f;
  CUgraphExec e = instance(x->g);
  OK(cuModuleUnload(m));
  assert_int_equal(cuGraphLaunch(e, x->s), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuGraphKernelNodeGetParams_v2(node, &k), CUDA_ERROR_INVALID_HANDLE);
  OK(cuGraphExecDestroy(e));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
int
main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(three_steps), TEST(conflicts),  TEST(orders),        TEST(queries),
      TEST(cycle),       TEST(parameters), TEST(update),        TEST(children_and_clones),
      TEST(events),      TEST(rows),       TEST(instances),     TEST(unloaded),
      TEST(attributes),  TEST(picture),    TEST(random_graphs),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
