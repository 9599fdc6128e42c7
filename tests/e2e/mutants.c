/* mutants: would the emulator notice?  Generated kernels lose one synchronising instruction
 * at a time; each mutant must be found out: by a finding, a failed launch, or a result that
 * is not the whole kernel's, bit by bit.
 *
 *   e2e_mutants [--all] [--jobs N] [-v] ["CASE" …]
 *
 * Survivors are listed in tests/mutants.txt with a reason each, at most 5 in 100 mutants; a
 * survivor that is not there, and an entry that no longer survives, fail.  Without --all:
 * the first kernels of the table, every mutant of them. */
#include "tests/e2e/call.h"
#include "tests/e2e/mutant.h"
#include "tests/e2e/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Several query blocks and more key tiles than stages, so that every wait of a ring is
 * taken in its steady state; ragged ends.  The first QUICK are the everyday ones. */
static const char *const kernels[] = {
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk330 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=false "
    "seed=11",
    "{dtype: bf16, head_dim: 40, window: [130, 0], return_lse: true}"
    " h1 sq65 sk200 "
    "template=fwd_mma,block_m=64,block_n=32,num_stages=1,num_warps=4,q_in_regs=true "
    "seed=12",
    "{dtype: fp16, head_dim: 64, head_dim_v: 72, return_lse: true}"
    " h1 sq200 sk290 "
    "template=fwd_mma,block_m=128,block_n=32,num_stages=3,num_warps=4,q_in_regs=true "
    "seed=13",
    "{dtype: fp16, head_dim: 64, causal: true, return_lse: true}"
    " h2/1 sq70 sk100 template=ref_fwd seed=14",
    "{dtype: bf16, head_dim: 8, head_dim_v: 264, causal: true, return_lse: true}"
    " h1 sq40 sk100 "
    "template=fwd_mma,block_m=32,block_n=32,num_stages=1,num_warps=4,q_in_regs=false,"
    "warps_n=2 seed=26",
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk330 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=1,num_warps=4,q_in_regs=false "
    "seed=15",
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk330 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=true "
    "seed=16",
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk410 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=3,num_warps=4,q_in_regs=false "
    "seed=17",
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk410 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=3,num_warps=4,q_in_regs=true "
    "seed=18",
    "{dtype: fp16, head_dim: 128, causal: true, align: top_left, return_lse: true}"
    " h1 sq200 sk300 sm_90 "
    "template=fwd_mma,block_m=128,block_n=64,num_stages=1,num_warps=8,q_in_regs=true "
    "seed=19",
    "{dtype: fp16, head_dim: 128, causal: true, return_lse: true}"
    " h1 sq200 sk300 sm_86 "
    "template=fwd_mma,block_m=128,block_n=32,num_stages=2,num_warps=8,q_in_regs=false "
    "seed=20",
    "{dtype: bf16, head_dim: 256, window: [100, 30], return_lse: true}"
    " h1 sq70 sk300 "
    "template=fwd_mma,block_m=64,block_n=32,num_stages=1,num_warps=4,q_in_regs=false "
    "seed=21",
    "{dtype: bf16, head_dim: 96, head_dim_v: 160, return_lse: true, specialize: [sq, sk]}"
    " h1 sq70 sk300 sm_120 "
    "template=fwd_mma,block_m=32,block_n=32,num_stages=2,num_warps=2,q_in_regs=false "
    "seed=22",
    "{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, strides]}"
    " h1 sq64 sk256 sm_89 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=false "
    "seed=23",
    "{dtype: fp16, head_dim: 16, window: [60, -1], align: top_left, return_lse: true}"
    " h1 sq190 sk400 "
    "template=fwd_mma,block_m=64,block_n=32,num_stages=2,num_warps=2,q_in_regs=true "
    "seed=24",
    "{dtype: fp16, head_dim: 64, causal: true, return_lse: true}"
    " h1 sq150 sk330 sm_75 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=1,num_warps=4,q_in_regs=false "
    "seed=24",
    "{dtype: fp16, head_dim: 80, window: [100, 30], return_lse: true}"
    " h1 sq70 sk300 sm_75 "
    "template=fwd_mma,block_m=64,block_n=32,num_stages=1,num_warps=4,q_in_regs=true "
    "seed=25",
    "{dtype: bf16, head_dim: 64, causal: true, block_list: {block: [64, 64]}, return_lse: "
    "true}"
    " h2 sq150 sk330 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=false "
    "seed=27",
    "{dtype: fp16, head_dim: 64, bias: {axes: [q, kv], dtype: fp16}, seqlens: "
    "[cu_seqlens_q, seqused_k], return_lse: true}"
    " b2 h1 sq150 sk330 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=false "
    "seed=28",
};
enum { QUICK = 5, LISTED_MAX = 64, JOBS_MAX = 16, KEY_TEXT = CASE_TEXT + 128 };

/* How warps are interleaved and when copies arrive: what one order hides another shows. */
static const char *const policies[] = {
    "checks=all,mma=bit,threads=1,sched=block,async=lazy,seed=1",
    "checks=all,mma=bit,threads=1,sched=rr,async=eager,seed=2",
    "checks=all,mma=bit,threads=1,sched=random,async=random,seed=3",
};

typedef struct Listed {
  char key[KEY_TEXT];
  bool met;
} Listed;

typedef struct Bench {
  Device device;
  Case c;
  Call call;
  attnc_spec *spec;
  unsigned char *right[FACTS_SLOTS]; /* every buffer after the whole kernel */
  char *ptx;
  bool verbose;
} Bench;

typedef struct Tally {
  int mutants, survivors, faults;
} Tally;

/* ---- one launch of a text ---- */

typedef enum Seen { SEEN_NOTHING, SEEN_FINDING, SEEN_ERROR, SEEN_RESULT, SEEN_FAULT } Seen;
static const char *const seen_words[] = {"SURVIVES", "finding", "error", "wrong result",
                                         "does not load"};

static bool
plan_of(const Bench *b, const char *ptx, attnc_context **ctx, attnc_plan **plan, char *why,
        size_t n)
{
  attnc_error e = {0};
  const attnc_compile_options from = {.size = sizeof from, .from = "ptx", .text = ptx};
  const attnc_options o = {.size = sizeof o,
                           .libcuda = b->device.path,
                           .cache = 1,
                           .target = b->c.target,
                           .compile = &from};
  CallAsked asked;
  call_problem(&b->call, &asked);
  *plan = NULL;
  *ctx = NULL;
  if (attnc_context_create(&o, ctx, &e) ||
      attnc_plan_get(*ctx, b->spec, &asked.problem, plan, &e)) {
    snprintf(why, n, "%s", e.message);
    return false;
  }
  return true;
}

/* As many bytes as the plan asks for, each time as if nobody had had them before. */
static bool
lend_workspace(Bench *b, const attnc_plan *plan, char *why, size_t n)
{
  attnc_args *a = &b->call.device_args;
  CUdeviceptr p = 0;
  size_t bytes = 0;
  if (attnc_plan_workspace(plan, a->sizes, &bytes) ||
      (bytes && b->device.cuMemAlloc_v2(&p, bytes)) ||
      (bytes && b->device.cuMemsetD8_v2(p, 0, attnc_plan_zeroed_bytes(plan)))) {
    snprintf(why, n, "%zu bytes of workspace", bytes);
    return false;
  }
  a->workspace = (void *)(uintptr_t)p;
  a->workspace_bytes = bytes;
  return true;
}

static void
take_workspace(Bench *b)
{
  attnc_args *a = &b->call.device_args;
  if (a->workspace)
    b->device.cuMemFree_v2((CUdeviceptr)(uintptr_t)a->workspace);
  a->workspace = NULL;
}

static Seen
judge(Bench *b, attnc_plan *plan, const char *policy, char *why, size_t n)
{
  attnc_error e = {0};
  Device *d = &b->device;
  if (d->configure(policy, why, n) || !call_upload(&b->call, d, why, n) ||
      !lend_workspace(b, plan, why, n))
    return SEEN_FAULT;
  attnc_status s = attnc_launch(plan, &b->call.device_args, NULL, NULL, &e);
  CUresult r = d->cuCtxSynchronize();
  take_workspace(b);
  if (device_findings(d, why, n))
    return SEEN_FINDING;
  if (s || r) {
    snprintf(why, n, "%s", s ? e.message : device_result(d, r));
    return SEEN_ERROR;
  }
  if (!call_download(&b->call, d, why, n))
    return SEEN_ERROR;
  for (int i = 0; i < b->call.n_buffers; i++)
    if (b->right[i] &&
        memcmp(b->right[i], b->call.buffers[i].host, b->call.buffers[i].bytes))
      return SEEN_RESULT;
  return SEEN_NOTHING;
}

static Seen
seen(Bench *b, const char *ptx, char *why, size_t n)
{
  attnc_context *ctx;
  attnc_plan *plan;
  Seen s = SEEN_FAULT;
  if (plan_of(b, ptx, &ctx, &plan, why, n)) {
    s = SEEN_NOTHING;
    for (size_t i = 0; s == SEEN_NOTHING && i < sizeof policies / sizeof policies[0]; i++)
      s = judge(b, plan, policies[i], why, n);
  }
  attnc_plan_release(plan);
  attnc_context_release(ctx);
  return s;
}

/* ---- a kernel ---- */

static bool
prepare(Bench *b, const char *notation, char *why, size_t n)
{
  char settings[32];
  if (!case_parse(notation, &b->c, why, n))
    return false;
  snprintf(settings, sizeof settings, "arch=%s", b->c.target);
  if (!device_open(&b->device, device_emulator(), settings, why, n) ||
      !call_load(&b->call, &b->c, &b->spec, why, n))
    return false;
  b->ptx = case_ptx(&b->c, why, n);
  return b->ptx != NULL;
}

/* The whole kernel is right under every policy, and its bits are the measure. */
static bool
whole(Bench *b, char *why, size_t n)
{
  attnc_verdict v = {.size = sizeof v};
  attnc_error e = {0};
  Seen s = seen(b, b->ptx, why, n);
  if (s != SEEN_NOTHING)
    return false;
  if (!call_intact(&b->call, why, n))
    return false;
  if (attnc_verify(b->spec, ATTNC_OP_FWD, &b->call.host_args, &v, &e) || !v.pass) {
    snprintf(why, n, "the whole kernel is wrong: %s", e.message);
    return false;
  }
  for (int i = 0; i < b->call.n_buffers; i++) {
    b->right[i] = malloc(b->call.buffers[i].bytes);
    if (!b->right[i])
      return false;
    memcpy(b->right[i], b->call.buffers[i].host, b->call.buffers[i].bytes);
  }
  s = seen(b, b->ptx, why, n); /* again: the same bits under every policy */
  return s == SEEN_NOTHING;
}

static Listed *
listed(Listed *list, int n, const char *key)
{
  for (int i = 0; i < n; i++)
    if (strcmp(list[i].key, key) == 0)
      return &list[i];
  return NULL;
}

/* The k-th synchronising statement of the kernel, named as in tests/mutants.txt. */
static void
name(char *key, size_t n, const Bench *b, int k, const Mutant *m)
{
  snprintf(key, n, "%s | %d %s %s", b->c.text, k, mutant_word(m), m->what);
}

static void
mutate(Bench *b, Listed *list, int n_list, Tally *tally)
{
  Mutant m[MUTANT_MAX];
  char why[1024], key[KEY_TEXT];
  int n = mutant_list(b->ptx, m);
  for (int i = 0; i < n; i++) {
    char *text = mutant_make(b->ptx, &m[i]);
    why[0] = 0;
    Seen s = text ? seen(b, text, why, sizeof why) : SEEN_FAULT;
    free(text);
    why[strcspn(why, "\n")] = 0;
    name(key, sizeof key, b, i, &m[i]);
    Listed *known = listed(list, n_list, key);
    if (known)
      known->met = true;
    tally->mutants++;
    tally->survivors += s == SEEN_NOTHING;
    bool bad = s == SEEN_FAULT || (s == SEEN_NOTHING) != (known != NULL);
    tally->faults += bad;
    if (bad || b->verbose)
      printf("%s  %s: %s (PTX line %d) %s\n", bad ? "FAIL" : "ok", key, seen_words[s],
             m[i].line, known && s != SEEN_NOTHING ? "is listed as a survivor" : why);
  }
}

/* Entries of this kernel whose mutant does not exist (any more). */
static int
stale(const Bench *b, const Listed *list, int n_list)
{
  const char *text = b->c.text;
  int n = 0;
  for (int i = 0; i < n_list; i++)
    if (!list[i].met && strncmp(list[i].key, text, strlen(text)) == 0) {
      printf("FAIL  %s: is listed, but there is no such mutant\n", list[i].key);
      n++;
    }
  return n;
}

static Tally
kernel(const char *notation, Listed *list, int n_list, bool verbose)
{
  Bench b = {.verbose = verbose};
  Tally t = {0};
  char why[1024] = "";
  if (prepare(&b, notation, why, sizeof why) && whole(&b, why, sizeof why)) {
    mutate(&b, list, n_list, &t);
    t.faults += stale(&b, list, n_list);
    if (t.mutants == 0)
      printf("note  %s: nothing to take away\n", notation);
  } else {
    printf("FAIL  %s: %s\n", notation, why);
    t.faults = 1;
  }
  free(b.ptx);
  for (int i = 0; i < FACTS_SLOTS; i++)
    free(b.right[i]);
  attnc_spec_release(b.spec);
  call_free(&b.call, &b.device);
  device_close(&b.device);
  return t;
}

/* ---- all of them ---- */

/* "key: reason" a line; a reason is required. */
static int
read_list(const char *path, Listed *list)
{
  FILE *f = fopen(path, "r");
  char line[2 * CASE_TEXT];
  int n = 0;
  if (!f)
    return -1;
  while (n < LISTED_MAX && fgets(line, sizeof line, f)) {
    char *reason = strstr(line, " : ");
    if (line[0] == '#' || line[strspn(line, " \t\r\n")] == 0)
      continue;
    if (!reason || strlen(reason) < 20) {
      fclose(f);
      return -1;
    }
    snprintf(list[n++].key, sizeof list->key, "%.*s", (int)(reason - line), line);
  }
  fclose(f);
  return n;
}

/* A process each: a mutant may leave a device behind that is of no use. */
static bool
in_process(const char *notation, Listed *list, int n_list, bool verbose, int *fd)
{
  int ends[2];
  if (pipe(ends))
    return false;
  fflush(NULL);
  pid_t p = fork();
  if (p < 0)
    return false;
  if (p == 0) {
    Tally t = kernel(notation, list, n_list, verbose);
    fflush(stdout);
    _exit(write(ends[1], &t, sizeof t) == (ssize_t)sizeof t ? 0 : 3);
  }
  close(ends[1]);
  *fd = ends[0];
  return true;
}

static bool
collect(const char *notation, int fd, Tally *sum)
{
  Tally t = {0};
  bool ok = read(fd, &t, sizeof t) == (ssize_t)sizeof t;
  close(fd);
  wait(NULL);
  if (!ok)
    printf("FAIL  %s: the process ended early\n", notation);
  sum->mutants += t.mutants;
  sum->survivors += t.survivors;
  sum->faults += t.faults + !ok;
  return ok;
}

static void
run(const char *const *list, int n, int jobs, bool verbose, Listed *known, int n_known,
    Tally *sum)
{
  int fd[JOBS_MAX];
  for (int i = 0; i < n + jobs; i++) {
    if (i >= jobs && i - jobs < n)
      collect(list[i - jobs], fd[i % jobs], sum);
    if (i < n && !in_process(list[i], known, n_known, verbose, &fd[i % jobs]))
      abort();
  }
}

int
main(int argc, char **argv)
{
  static Listed known[LISTED_MAX];
  Tally sum = {0};
  bool all = false, verbose = false;
  int jobs = 2, i = 1, total = (int)(sizeof kernels / sizeof kernels[0]);
  for (; i < argc && argv[i][0] == '-'; i++) {
    all |= strcmp(argv[i], "--all") == 0;
    verbose |= strcmp(argv[i], "-v") == 0;
    if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
      jobs = atoi(argv[++i]);
  }
  int n_known = read_list(SOURCE_DIR "/tests/mutants.txt", known);
  if (n_known < 0 || jobs < 1 || jobs > JOBS_MAX) {
    fprintf(stderr, "usage: e2e_mutants [--all] [--jobs N] [-v] [\"CASE\" ...]; "
                    "tests/mutants.txt has `case | mutant : reason` lines\n");
    return 2;
  }
  if (i < argc)
    run((const char *const *)argv + i, argc - i, jobs, verbose, known, n_known, &sum);
  else
    run(kernels, all ? total : QUICK, jobs, verbose, known, n_known, &sum);
  printf("%d mutants, %d found out, %d survive, %d faults\n", sum.mutants,
         sum.mutants - sum.survivors, sum.survivors, sum.faults);
  return sum.faults || sum.survivors * 20 > sum.mutants || (i == argc && !sum.mutants);
}
