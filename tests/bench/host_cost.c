/* What a call costs the host, for callgrind: host_cost_test.py runs one case of this
 * program and counts instructions inside of `measured`, where nothing else is done.
 *
 *   host_cost WORKLOAD CASE N DIR    does it N times; prints allocations a call, and steps
 *
 * The driver is the one that records, so that its own share, what a bare call of it costs,
 * is a case too.  DIR is the cache's. */
#include "tests/stub/stub.h"

#include "runtime/launch.h"

#include <attnc/attnc.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- allocations ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static long allocations; /* of one thread */
#define SEEN                                                                               \
  __attribute__((visibility("default"))) /* by the libraries, in libc's place              \
                                          */

SEEN void *
malloc(size_t n)
{
  allocations++;
  return __libc_malloc(n);
}

SEEN void *
calloc(size_t n, size_t size)
{
  allocations++;
  return __libc_calloc(n, size);
}

SEEN void *
realloc(void *p, size_t n)
{
  allocations++;
  return __libc_realloc(p, n);
}

/* ---- what is measured ---- */

/* A prompt, dense, which is one launch; a token of each of 8 sequences in pages, whose keys
 * are split: several steps, of which some are memsets or small launches. */
typedef struct Workload {
  const char *name, *yaml;
  attnc_sizes sizes;
} Workload;

static const Workload workloads[] = {
    {"prefill",
     "attnc: 1\nname: llama\ndtype: bf16\nhead_dim: 128\ncausal: true\n",
     {.size = sizeof(attnc_sizes), .b = 1, .h = 32, .hk = 8, .sq = 1024, .sk = 1024}},
    {"decode",
     "attnc: 1\nname: decode\ndtype: bf16\nhead_dim: 128\ngroup_size: 4\ncausal: true\n"
     "page_table: true\nseqlens: [seqused_k]\n"
     "schedule: {template: decode_mma, split_keys: 512, combine: false}\n",
     {.size = sizeof(attnc_sizes),
      .b = 8,
      .h = 32,
      .hk = 8,
      .sq = 1,
      .sk = 4096,
      .pages = 2048,
      .page_size = 16,
      .max_pages = 256}},
};

typedef struct Bench {
  const char *dir;
  attnc_spec *spec;
  attnc_context *context;
  attnc_plan *plan;
  attnc_problem problem;
  attnc_sizes sizes;
  attnc_tensor tensors[CALL_SLOTS];
  attnc_args args;
  attnc_launch_state *state;
  void *workspace;
} Bench;

static void
must(attnc_status status, const attnc_error *e)
{
  if (status == ATTNC_OK)
    return;
  fprintf(stderr, "host_cost: %s\n", e->message);
  exit(1);
}

static void
open_context(Bench *b)
{
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = b->dir,
                     .cache = 3,
                     .tune_dir = b->dir};
  must(attnc_context_create(&o, &b->context, &e), &e);
}

static void
get_plan(Bench *b)
{
  attnc_error e = {0};
  must(attnc_plan_get(b->context, b->spec, &b->problem, &b->plan, &e), &e);
}

static void
close_context(Bench *b)
{
  attnc_plan_release(b->plan);
  attnc_context_release(b->context);
}

/* As an engine does at each call: by new addresses, or by those of the call before. */
static void
launch(const Bench *b, attnc_launch_state *state)
{
  attnc_error e = {0};
  must(attnc_launch(b->plan, &b->args, NULL, state, &e), &e);
}

static void
move_tensors(Bench *b, int i)
{
  const ptrdiff_t step = i & 1 ? 0x10000 : -0x10000;
  for (uint32_t j = 0; j < b->args.n_tensors; j++)
    if (b->tensors[j].data)
      b->tensors[j].data = (char *)b->tensors[j].data + step;
}

static void
do_moved(Bench *b, int i)
{
  move_tensors(b, i);
}

static void
do_launch(Bench *b, int i)
{
  move_tensors(b, i);
  launch(b, NULL);
}

static void
do_launch_state(Bench *b, int i)
{
  move_tensors(b, i);
  launch(b, b->state);
}

static void
do_launch_again(Bench *b, int i)
{
  (void)i;
  launch(b, b->state);
}

static CUresult (*bare_memset)(CUdeviceptr, unsigned char, size_t, CUstream);
static CUresult (*bare_launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                               unsigned, unsigned, CUstream, void **, void **);

/* The driver's part of a launch: the calls of it that attnc_launch makes. */
static void
do_bare(Bench *b, int i)
{
  static Value values[RECIPE_PARAMS];
  static void *pointers[RECIPE_PARAMS];
  (void)i;
  for (int s = 0; s < b->plan->recipe->n_steps; s++) {
    const Launch *l = &b->plan->recipe->steps[s].launch;
    if (!b->plan->recipe->steps[s].is_launch) {
      bare_memset((CUdeviceptr)(uintptr_t)b->workspace, 0, 64, NULL);
      continue;
    }
    for (int j = 0; j < l->n_params; j++)
      pointers[j] = &values[j];
    bare_launch(b->plan->functions[s], 8, 8, 1, l->block[0], 1, 1, l->shared, NULL,
                pointers, NULL);
  }
}

static void
do_memory_hit(Bench *b, int i)
{
  (void)i;
  attnc_plan_release(b->plan);
  get_plan(b);
}

static void
do_disk_hit(Bench *b, int i)
{
  (void)i;
  close_context(b);
  open_context(b);
  get_plan(b);
}

typedef struct Case {
  const char *name;
  void (*once)(Bench *, int i);
} Case;

static const Case cases[] = {
    {"moved", do_moved},
    {"bare", do_bare},
    {"launch", do_launch},
    {"launch_state", do_launch_state},
    {"launch_again", do_launch_again},
    {"memory_hit", do_memory_hit},
    {"disk_hit", do_disk_hit},
};

void measured(Bench *, const Case *, int n);
__attribute__((noinline)) void
measured(Bench *b, const Case *c, int n)
{
  for (int i = 0; i < n; i++)
    c->once(b, i);
}

/* ---- the program ---- */

static void
find_driver(void)
{
  CUcontext context;
  void *stub = dlopen(STUB_LIBCUDA, RTLD_NOW | RTLD_LOCAL);
  CUresult (*retain)(CUcontext *, CUdevice), (*set)(CUcontext);
  *(void **)&retain = dlsym(stub, "cuDevicePrimaryCtxRetain");
  *(void **)&set = dlsym(stub, "cuCtxSetCurrent");
  *(void **)&bare_launch = dlsym(stub, "cuLaunchKernel");
  *(void **)&bare_memset = dlsym(stub, "cuMemsetD8Async");
  if (retain(&context, 0) || set(context))
    exit(1);
}

/* Packed along the axes that the call has, one behind the other. */
static void
make_tensors(Bench *b)
{
  static _Alignas(128) char memory[32 << 20];
  const Recipe *r = b->plan->recipe;
  char *at = memory + (1 << 20);
  for (int i = 0; i < r->n_slots; i++) {
    const CallTensor *t = &r->tensors[i];
    int64_t packed = 1;
    if (!t->name)
      continue;
    b->tensors[i].data = at;
    at += 1 << 18;
    for (int axis = t->n_axes; axis-- > 0;) {
      b->tensors[i].stride[axis] = packed;
      packed *= axis_length(&t->axes[axis], &b->sizes);
    }
  }
}

static void
prepare(Bench *b, const Workload *load)
{
  attnc_error e = {0};
  size_t bytes = 0;
  b->sizes = load->sizes;
  b->problem = (attnc_problem){.size = sizeof b->problem, .device = 1, .sizes = &b->sizes};
  must(attnc_spec_load(load->yaml, strlen(load->yaml), "host_cost", &b->spec, NULL), &e);
  open_context(b);
  get_plan(b);
  make_tensors(b);
  must(attnc_plan_workspace(b->plan, &b->sizes, &bytes), &e);
  b->workspace = bytes ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
  b->args = (attnc_args){.size = sizeof b->args,
                         .sizes = &b->sizes,
                         .tensors = b->tensors,
                         .tensor_size = sizeof b->tensors[0],
                         .n_tensors = (uint32_t)b->plan->recipe->n_slots,
                         .workspace = b->workspace,
                         .workspace_bytes = bytes};
  const size_t state = attnc_plan_state_bytes(b->plan);
  b->state = aligned_alloc(64, (state + 63) / 64 * 64);
  memset(b->state, 0, state);
}

int
main(int n_words, char **words)
{
  Bench b = {.dir = n_words == 5 ? words[4] : ""};
  const Workload *load = NULL;
  const Case *c = NULL;
  for (size_t i = 0; n_words == 5 && i < sizeof workloads / sizeof *workloads; i++)
    if (!strcmp(workloads[i].name, words[1]))
      load = &workloads[i];
  for (size_t i = 0; n_words == 5 && i < sizeof cases / sizeof *cases; i++)
    if (!strcmp(cases[i].name, words[2]))
      c = &cases[i];
  if (!c || !load)
    return 2;
  const int n = atoi(words[3]);
  find_driver();
  prepare(&b, load);
  for (int i = 0; i < 3; i++) /* what is done once is done */
    c->once(&b, i);
  const long before = allocations;
  measured(&b, c, n);
  printf("%ld %d\n", (allocations - before) / n, b.plan->recipe->n_steps);
  close_context(&b);
  free(b.state);
  free(b.workspace);
  attnc_spec_release(b.spec);
  return 0;
}
