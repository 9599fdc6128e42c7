/* Compiling in another process: the real compiler, attnc-cc and the driver that records.
 *
 *   test_cc              everyday: few kills, few compiles
 *   test_cc KILLS MANY   what slow runs: 100 kills, 2,000 compiles, memory flat
 *
 * The program is a worker of another build itself, when it is started with --worker. */
#include "tests/unit/stub.h"

#include "base/clock.h"
#include "runtime/cc_message.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static int n_kills = 8, n_compiles = 24;
static char *dir;

static int
setup(void **state)
{
  (void)state;
  setenv("ATTNC_CACHE_ZSTD", "0", 1); /* one of them looks into entries */
  stub_find();
  stub.stub_reset();
  stub_use(0);
  dir = rt_scratch();
  return 0;
}

static int
teardown(void **state)
{
  int status;
  (void)state;
  unsetenv("ATTNC_CC_FAULT");
  rt_remove(dir);
  /* Every worker was waited for, and no other child is there. */
  bool alone = waitpid(-1, &status, WNOHANG) < 0;
  return stub.stub_modules() || stub.stub_primaries(0) || !alone;
}

/* ---- contexts, specs, plans ---- */

static attnc_context *
context_with(const char *cc, const char *limits, int cache,
             const attnc_compile_options *compile)
{
  attnc_context *c = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = dir,
                     .cache = cache,
                     .tune_dir = dir,
                     .compile = compile,
                     .cc = cc,
                     .cc_limits = limits};
  if (attnc_context_create(&o, &c, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return c;
}

static attnc_context *
context(const char *limits)
{
  return context_with("1", limits, 1, NULL);
}

/* Another kernel for each i: the scale is a constant of it. */
static attnc_spec *
spec_of(int i)
{
  char text[200];
  attnc_spec *spec = NULL;
  int n =
      snprintf(text, sizeof text,
               "attnc: 1\nname: k%d\ndtype: fp16\nhead_dim: 16\nspecialize: "
               "[softmax_scale]\nsoftmax_scale: 0.%05d\nschedule: {template: ref_fwd}\n",
               i, i + 10000);
  assert_int_equal(attnc_spec_load(text, (size_t)n, "k", &spec, NULL), ATTNC_OK);
  return spec;
}

static attnc_status
try_plan(attnc_context *c, int i, attnc_error *e)
{
  attnc_plan *p = NULL;
  attnc_spec *spec = spec_of(i);
  attnc_problem problem = {.size = sizeof problem, .device = 1};
  attnc_status status = attnc_plan_get(c, spec, &problem, &p, e);
  attnc_plan_release(p);
  attnc_spec_release(spec);
  return status;
}

static void
plan(attnc_context *c, int i)
{
  attnc_error e = {0};
  if (try_plan(c, i, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
}

static int
counted(attnc_context *c, const char *name)
{
  char full[40];
  snprintf(full, sizeof full, "cc_%s", name);
  json_t *j = json_loads(attnc_context_json(c), 0, NULL);
  int n = (int)json_integer_value(json_object_get(json_object_get(j, "stats"), full));
  json_decref(j);
  return n;
}

/* ---- processes ---- */

/* The children of this process; how many. */
static int
children(pid_t pids[16])
{
  int n = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *t; (t = readdir(tasks)) != NULL;) {
    char path[400];
    snprintf(path, sizeof path, "/proc/self/task/%.100s/children", t->d_name);
    FILE *f = fopen(path, "r");
    while (f && n < 16 && fscanf(f, "%d", &pids[n]) == 1)
      n++;
    if (f)
      fclose(f);
  }
  closedir(tasks);
  return n;
}

static pid_t
only_child(void)
{
  pid_t pids[16];
  assert_int_equal(children(pids), 1);
  return pids[0];
}

static int
descriptors(pid_t pid, const char *what)
{
  char path[64], link[400];
  int n = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *d = opendir(path);
  assert_non_null(d);
  for (struct dirent *x; (x = readdir(d)) != NULL;) {
    ssize_t got = readlinkat(dirfd(d), x->d_name, link, sizeof link - 1);
    if (got <= 0)
      continue;
    link[got] = 0;
    n += !what || strstr(link, what) != NULL;
  }
  closedir(d);
  return n - (!what && pid == getpid()); /* the folder that is read */
}

static long
resident_kib(void)
{
  long pages[2] = {0};
  FILE *f = fopen("/proc/self/statm", "r");
  assert_int_equal(fscanf(f, "%ld %ld", &pages[0], &pages[1]), 2);
  fclose(f);
  return pages[1] * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- the same as in the process ---- */

/* The one entry of the cache, its bytes malloc'd; the cache is then empty. */
static char *
take_entry(size_t *n)
{
  char path[400], command[400];
  snprintf(command, sizeof command, "find %s/entries -type f", dir);
  FILE *f = popen(command, "r");
  assert_non_null(fgets(path, sizeof path, f));
  pclose(f);
  path[strcspn(path, "\n")] = 0;
  f = fopen(path, "r");
  char *bytes = malloc(1 << 20);
  *n = fread(bytes, 1, 1 << 20, f);
  fclose(f);
  assert_int_equal(unlink(path), 0);
  return bytes;
}

/* A kernel of the text by one way or the other: its entry's bytes. */
static char *
entry_by(const char *cc, const char *text, const attnc_compile_options *compile, size_t *n)
{
  static const attnc_sizes sizes = {
      .size = sizeof sizes, .b = 2, .h = 8, .hk = 2, .sq = 96, .sk = 160};
  static const attnc_tensor tensors[4] = {{NULL, {96 * 8 * 64, 64, 8 * 64, 1}},
                                          {NULL, {160 * 2 * 64, 64, 2 * 64, 1}},
                                          {NULL, {160 * 2 * 64, 64, 2 * 64, 1}},
                                          {NULL, {96 * 8 * 64, 64, 8 * 64, 1}}};
  attnc_problem problem = {.size = sizeof problem,
                           .device = 1,
                           .sizes = &sizes,
                           .tensors = tensors,
                           .tensor_size = sizeof *tensors,
                           .n_tensors = 4};
  attnc_context *c = context_with(cc, NULL, 3, compile);
  attnc_spec *spec = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &spec, NULL), ATTNC_OK);
  if (attnc_plan_get(c, spec, &problem, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  attnc_plan_release(p);
  attnc_spec_release(spec);
  attnc_context_release(c);
  return take_entry(n);
}

static void
test_the_same_bytes(void **state)
{
  static const char *const texts[] = {
      "attnc: 1\nname: a\ndtype: bf16\nhead_dim: 64\ncausal: true\n",
      "attnc: 1\nname: b\ndtype: fp16\nhead_dim: 64\nspecialize: [sq, sk, strides]\n",
      "attnc: 1\nname: c\ndoc: caf\xc3\xa9\ndtype: bf16\nhead_dim: 64\nwindow: [16, 16]\n"
      "schedule: {block_m: 64, block_n: 32}\n",
      "attnc: 1\nname: d\ndtype: bf16\nhead_dim: 64\nscore_mod: score + 0.5 * (kv_idx - "
      "q_idx)\n"};
  attnc_compile_options later = {.size = sizeof later, .ptx_version = "7.4"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    size_t n, m;
    const attnc_compile_options *o = i == 1 ? &later : NULL;
    char *here = entry_by("0", texts[i], o, &n), *there = entry_by("1", texts[i], o, &m);
    assert_int_equal(n, m);
    assert_memory_equal(here, there, n);
    free(here);
    free(there);
  }
}

/* What a compile refuses it refuses there with the same words, and nothing is remembered.
 */
static void
test_the_same_refusals(void **state)
{
  attnc_compile_options bad = {.size = sizeof bad, .from = "ll", .text = "no IR"};
  attnc_context *here = context_with("0", NULL, 1, &bad);
  attnc_context *there = context_with("1", NULL, 1, &bad);
  attnc_error e = {0}, f = {0};
  (void)state;
  assert_int_equal(try_plan(here, 1, &e), ATTNC_ERR_USAGE);
  assert_int_equal(try_plan(there, 1, &f), ATTNC_ERR_USAGE);
  assert_string_equal(e.message, f.message);
  assert_int_equal(try_plan(there, 1, &f), ATTNC_ERR_USAGE);
  assert_int_equal(counted(there, "compiled"), 2);
  assert_int_equal(counted(there, "remembered"), 0);
  attnc_context_release(here);
  attnc_context_release(there);
}

static void
assert_file(const char *stage, bool there)
{
  char path[400];
  struct stat st;
  snprintf(path, sizeof path, "%s/k1.sm_80.%s", dir, stage);
  assert_int_equal(!stat(path, &st) && st.st_size > 0, there);
  unlink(path);
}

static void
test_dumps(void **state)
{
  (void)state;
  setenv("ATTNC_DUMP", "tile,opt", 1);
  setenv("ATTNC_DUMP_DIR", dir, 1);
  attnc_context *c = context(NULL);
  plan(c, 1);
  attnc_context_release(c);
  assert_file("tile", true);
  assert_file("opt", true);
  assert_file("ll", false);
  unsetenv("ATTNC_DUMP");
  unsetenv("ATTNC_DUMP_DIR");
}

/* ---- the host ---- */

/* One process serves one compile after the other, is replaced after so many, has nothing of
 * the host's open, and leaves the host as it was. */
static void
test_one_warm_worker(void **state)
{
  int pair[2], before;
  (void)state;
  assert_int_equal(pipe(pair), 0); /* without close-on-exec */
  before = descriptors(getpid(), NULL);
  attnc_context *c = context("compiles=3");
  plan(c, 0);
  pid_t first = only_child();
  assert_int_equal(descriptors(first, "pipe"), 0);
  assert_int_equal(descriptors(first, NULL), 5); /* three, and the socket twice again */
  plan(c, 1);
  assert_int_equal(only_child(), first);
  for (int i = 2; i < 10; i++)
    plan(c, i);
  assert_int_equal(counted(c, "started"), 4);
  assert_int_equal(counted(c, "compiled"), 10);
  assert_int_equal(counted(c, "died"), 0);
  attnc_context_release(c);
  assert_int_equal(descriptors(getpid(), NULL), before);
  close(pair[0]);
  close(pair[1]);
}

/* Until the host has no child, dead ones among them. */
static void
wait_childless(void)
{
  const double until = clock_seconds() + 20;
  const struct timespec pause = {0, 5000000};
  pid_t pids[16];
  while (children(pids) && clock_seconds() < until)
    nanosleep(&pause, NULL);
  assert_int_equal(children(pids), 0);
}

/* It was killed while it had nothing to do: no signal reaches the host, and no zombie stays
 * with it, though it asks for nothing more. */
static void
test_killed_while_idle(void **state)
{
  (void)state;
  attnc_context *c = context(NULL);
  for (int i = 0; i < 4; i++) {
    plan(c, i);
    kill(only_child(), SIGKILL);
    if (i < 3) /* the last time another compile comes at once */
      wait_childless();
  }
  plan(c, 4);
  assert_int_equal(counted(c, "started"), 5);
  assert_int_equal(counted(c, "died"), 4);
  attnc_context_release(c);
}

/* The context goes while the thread that watches ends a worker. */
static void
test_released_meanwhile(void **state)
{
  (void)state;
  for (int i = 0; i < 4; i++) {
    attnc_context *c = context(NULL);
    plan(c, i);
    kill(only_child(), SIGKILL);
    attnc_context_release(c);
    pid_t pids[16];
    assert_int_equal(children(pids), 0);
  }
}

/* A host that lets nobody wait for children. */
static void
test_children_ignored(void **state)
{
  (void)state;
  signal(SIGCHLD, SIG_IGN);
  attnc_context *c = context(NULL);
  plan(c, 0);
  kill(only_child(), SIGKILL);
  plan(c, 1);
  attnc_context_release(c);
  signal(SIGCHLD, SIG_DFL);
}

/* A child of the host has no worker and ends none. */
static void
test_fork(void **state)
{
  int status = -1;
  (void)state;
  attnc_context *c = context(NULL);
  plan(c, 0);
  pid_t worker = only_child(), child = fork();
  if (!child) {
    attnc_context_release(c);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  plan(c, 1);
  assert_int_equal(only_child(), worker);
  assert_int_equal(counted(c, "started"), 1);
  attnc_context_release(c);
}

typedef struct Caller {
  pthread_t thread;
  attnc_context *c;
  int first, n;
} Caller;

static void *
call(void *arg)
{
  Caller *w = arg;
  for (int i = 0; i < w->n; i++)
    plan(w->c, w->first + i);
  return NULL;
}

static void
test_threads(void **state)
{
  Caller all[8];
  pid_t pids[16];
  (void)state;
  attnc_context *c = context("workers=2");
  for (int i = 0; i < 8; i++) {
    all[i] = (Caller){.c = c, .first = i * 2, .n = 3}; /* some keys by two threads */
    assert_int_equal(pthread_create(&all[i].thread, NULL, call, &all[i]), 0);
  }
  for (int i = 0; i < 8; i++) {
    assert_in_range(children(pids), 0, 2);
    pthread_join(all[i].thread, NULL);
  }
  assert_int_equal(counted(c, "compiled"), 17);
  only_child(); /* one is kept */
  attnc_context_release(c);
}

/* ---- what goes wrong in the worker ---- */

static void
assert_says(const char *message, const char *what)
{
  if (!strstr(message, what))
    fail_msg("'%s' is not in '%s'", what, message);
}

/* One key fails as it should; the next compiles. */
static void
one_fault(const char *fault, const char *limits, attnc_status status, const char *says)
{
  char named[40];
  attnc_error e = {0};
  snprintf(named, sizeof named, "%s:k1", fault);
  setenv("ATTNC_CC_FAULT", named, 1);
  attnc_context *c = context_with("1", limits, 3, NULL);
  plan(c, 0);
  assert_int_equal(try_plan(c, 1, &e), status);
  assert_says(e.message, says);
  assert_says(e.message, "attnc-cc --replay ");
  assert_int_equal(counted(c, "failed"), 1);
  plan(c, 2);
  attnc_context_release(c);
  unsetenv("ATTNC_CC_FAULT");
  rt_remove(dir);
  dir = rt_scratch();
}

static void
test_faults(void **state)
{
  (void)state;
  one_fault("abort", NULL, ATTNC_ERR_COMPILE,
            "compiling k1 for sm_80, attnc-cc died of signal 6 (SIGABRT): LLVM ERROR: "
            "Cannot select: injected");
  one_fault("exit", NULL, ATTNC_ERR_COMPILE, "attnc-cc ended with 3");
  one_fault("memory", "memory=320M", ATTNC_ERR_COMPILE, "LLVM ERROR: out of memory");
  one_fault("hang", "seconds=1", ATTNC_ERR_TIMEOUT, "no end within 1 s");
}

/* The file of the request, from the message. */
static void
file_of(const char *message, char path[400])
{
  const char *at = strstr(message, "--replay ");
  assert_non_null(at);
  snprintf(path, 400, "%s", at + strlen("--replay "));
}

static int
shell(const char *fmt, const char *a, const char *b)
{
  char command[1000];
  snprintf(command, sizeof command, fmt, a, b);
  return system(command);
}

/* Who asks again, here or in another process, is told at once, for a while; the command of
 * the message repeats it, and without the fault compiles what is compiled here. */
static void
test_remembered(void **state)
{
  char path[400], at[400];
  attnc_error e = {0}, f = {0}, g = {0};
  (void)state;
  setenv("ATTNC_CC_FAULT", "abort:k1", 1);
  attnc_context *c = context_with("1", NULL, 3, NULL);
  assert_int_equal(try_plan(c, 1, &e), ATTNC_ERR_COMPILE);
  assert_int_equal(try_plan(c, 1, &f), ATTNC_ERR_COMPILE);
  assert_string_equal(e.message, f.message);
  assert_int_equal(counted(c, "started"), 1); /* a new one that dies is not tried again */
  assert_int_equal(counted(c, "remembered"), 1);
  attnc_context_release(c);
  file_of(e.message, path);
  assert_int_not_equal(shell("%s --replay %s >/dev/null 2>&1", ATTNC_CC, path), 0);
  unsetenv("ATTNC_CC_FAULT");
  c = context_with("1", NULL, 3, NULL);
  assert_int_equal(try_plan(c, 1, &g), ATTNC_ERR_COMPILE);
  assert_string_equal(e.message, g.message);
  assert_int_equal(counted(c, "started"), 0);
  attnc_context_release(c);
  snprintf(at, sizeof at, "%s/ptx", dir);
  char both[820];
  snprintf(both, sizeof both, "%s >%s", path, at);
  assert_int_equal(shell("%s --replay %s", ATTNC_CC, both), 0);
  /* Long ago. */
  const struct timespec old[2] = {{.tv_sec = time(NULL) - 3600},
                                  {.tv_sec = time(NULL) - 3600}};
  assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
  c = context_with("1", NULL, 3, NULL);
  plan(c, 1);
  attnc_context_release(c);
  size_t n;
  char *entry = take_entry(&n), ptx[200] = "";
  FILE *file = fopen(at, "r");
  assert_non_null(fgets(ptx, sizeof ptx, file));
  fclose(file);
  assert_non_null(memmem(entry, n, ptx, strlen(ptx))); /* the mark: of this recipe */
  free(entry);
}

/* Where there is no cache the request is kept in $TMPDIR. */
static void
test_kept_without_a_cache(void **state)
{
  char path[400];
  attnc_error e = {0};
  (void)state;
  setenv("TMPDIR", dir, 1);
  setenv("ATTNC_CC_FAULT", "exit", 1);
  attnc_context *c = context(NULL);
  assert_int_equal(try_plan(c, 1, &e), ATTNC_ERR_COMPILE);
  attnc_context_release(c);
  unsetenv("TMPDIR");
  file_of(e.message, path);
  assert_int_equal(strncmp(path, dir, strlen(dir)), 0);
  assert_int_equal(access(path, R_OK), 0);
}

static bool killing; /* atomic */
static int killed;

/* At moments up to three times as far apart as a plan by a new worker takes. */
static void *
kill_some(void *arg)
{
  const double *seconds = arg;
  unsigned seed = 15;
  while (__atomic_load_n(&killing, __ATOMIC_RELAXED) && killed < n_kills) {
    pid_t pids[16];
    usleep((useconds_t)(*seconds * 3e6 * (rand_r(&seed) % 1000) / 1000));
    int n = children(pids);
    if (n && !kill(pids[rand_r(&seed) % n], SIGKILL))
      killed++;
  }
  return NULL;
}

static void
test_killed_at_random(void **state)
{
  pthread_t killer;
  int i = 0;
  (void)state;
  killed = 0;
  killing = true;
  attnc_context *c = context(NULL);
  double start = clock_seconds();
  plan(c, i++);
  start = clock_seconds() - start;
  assert_int_equal(pthread_create(&killer, NULL, kill_some, &start), 0);
  for (; i < 4 || (killed < n_kills && i < 20 * n_kills); i++)
    plan(c, i);
  __atomic_store_n(&killing, false, __ATOMIC_RELAXED);
  pthread_join(killer, NULL);
  assert_int_equal(counted(c, "compiled"), i);
  assert_int_equal(counted(c, "failed"), 0);
  print_message("%d kills, %d plans, all served; %d workers\n", killed, i,
                counted(c, "started"));
  assert_in_range(killed, n_kills, 10 * n_kills);
  attnc_context_release(c);
}

/* ---- programs that are none ---- */

static void
refused(const char *program, attnc_status status, const char *says)
{
  attnc_error e = {0};
  attnc_context *c = context_with(program, "seconds=5", 1, NULL);
  assert_int_equal(try_plan(c, 1, &e), status);
  assert_says(e.message, says);
  attnc_context_release(c);
}

static void
test_other_programs(void **state)
{
  attnc_options o = {.size = sizeof o, .cc = "attnc-cc"};
  attnc_context *c = NULL;
  attnc_error e = {0};
  (void)state;
  refused("/no/where", ATTNC_ERR_IO, "/no/where");
  refused("/bin/true", ATTNC_ERR_IO, "/bin/true ended with 0 and does not speak as");
  refused("/proc/self/exe", ATTNC_ERR_IO, "of another build: its code is 0123456789ab");
  setenv("CC_SAYS", "nonsense", 1);
  refused("/proc/self/exe", ATTNC_ERR_IO, "does not speak as attnc-cc");
  unsetenv("CC_SAYS");
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_USAGE);
  assert_says(e.message, "'attnc-cc' is not 0, 1 or a path");
  o = (attnc_options){.size = sizeof o, .cc = "1", .cc_limits = "seconds=0"};
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_USAGE);
  assert_says(e.message, "seconds is at least 1");
  o.cc_limits = "minutes=4";
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_USAGE);
  assert_says(e.message, "'minutes=4' is not like");
}

/* A worker of another build, as a host sees it whose installation was replaced. */
static int
other_worker(void)
{
  static const char hello[] = "{\"hello\": {\"attnc\": 1, \"code_id\": "
                              "\"0123456789abcdef\", \"llvm\": \"22.1.0\"}}";
  unsigned char head[CC_HEAD];
  const CcHead h = {.json_n = strlen(hello)};
  const char *says = getenv("CC_SAYS");
  if (says)
    return write(STDOUT_FILENO, says, strlen(says)) < 0;
  memcpy(head, "attnc-cc", 8);
  for (int i = 0; i < 8; i++) {
    head[8 + i] = (unsigned char)(h.json_n >> (8 * i));
    head[16 + i] = 0;
  }
  if (write(STDOUT_FILENO, head, sizeof head) < 0 ||
      write(STDOUT_FILENO, hello, h.json_n) < 0)
    return 1;
  return read(STDIN_FILENO, head, 1) < 0;
}

/* ---- memory ---- */

/* Plans and kernels that a context keeps are many at first; from then on a compile leaves
 * nothing in the host. */
static void
test_memory(void **state)
{
  const int settled = n_compiles * 2 / 5;
  long at = 0;
  (void)state;
  attnc_context *c = context(NULL);
  for (int i = 0; i < n_compiles; i++) {
    plan(c, i);
    if (i == settled)
      at = resident_kib();
  }
  long end = resident_kib();
  print_message(
      "%d compiles by %d workers: %ld KiB resident after %d, %ld KiB at the end\n",
      n_compiles, counted(c, "started"), at, settled, end);
  assert_int_equal(counted(c, "compiled"), n_compiles);
  if (n_compiles >= 2000)
    assert_in_range(end, 0, at + 1024);
  attnc_context_release(c);
}

int
main(int argc, char **argv)
{
  if (argc > 1 && !strcmp(argv[1], "--worker"))
    return other_worker();
  if (argc > 2) {
    n_kills = atoi(argv[1]);
    n_compiles = atoi(argv[2]);
  }
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_memory), /* first: what is compiled here stays here */
      TEST(test_the_same_bytes),
      TEST(test_the_same_refusals),
      TEST(test_dumps),
      TEST(test_one_warm_worker),
      TEST(test_killed_while_idle),
      TEST(test_released_meanwhile),
      TEST(test_children_ignored),
      TEST(test_fork),
      TEST(test_threads),
      TEST(test_faults),
      TEST(test_remembered),
      TEST(test_kept_without_a_cache),
      TEST(test_killed_at_random),
      TEST(test_other_programs),
  };
  return cmocka_run_group_tests_name("cc", tests, NULL, NULL);
}
