/* recipes: kernels whose recipe somebody changed, in a bundle that somebody signed anew.
 *
 *   e2e_recipes COUNT [SEED]
 *
 * Elements of real recipes are deleted, doubled, exchanged and altered, one or two at a
 * time; the manifest then lists the file as it is.  Whatever comes of it, a refusal, an
 * error of the device or a wrong result, the process that loads and launches it lives on:
 * each mutant has a child of its own, which ends by itself and in time. */
#include "base/file.h"
#include "base/hash.h"
#include "tests/e2e/device.h"

#include <attnc/attnc.h>

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SQ = 40, SK = 50, H = 2, D = 32, BYTES = 1 << 16, SECONDS = 60 };

static const struct {
  const char *what, *spec, *target, *how; /* how: the template */
} kernels[] = {
    {"fwd_mma", "dtype: bf16\nhead_dim: 32\ncausal: true\nreturn_lse: true\n", "sm_80",
     "fwd_mma"},
    {"specialised",
     "dtype: fp16\nhead_dim: 32\nspecialize: [b, h, hk, sq, sk, softmax_scale]\n", "sm_80",
     "fwd_mma"},
    {"fwd_wgmma", "dtype: fp16\nhead_dim: 32\nreturn_lse: true\n", "sm_90a", "fwd_wgmma"},
    {"ref_fwd", "dtype: fp32\nhead_dim: 32\nwindow: [8, 8]\n", "sm_80", "ref_fwd"},
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = 1, .h = H, .hk = 1, .sq = SQ, .sk = SK};

static uint64_t state;

static uint64_t
next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static size_t
below(size_t n)
{
  return n ? (size_t)(next() % n) : 0;
}

static void
die(const char *what)
{
  fprintf(stderr, "e2e_recipes: %s\n", what);
  exit(2);
}

/* ---- mutations ---- */

enum { MOST_PLACES = 4096 };

/* An element: of an array (key NULL) or of an object. */
typedef struct Place {
  json_t *parent;
  const char *key;
  size_t index;
} Place;

typedef struct Places {
  Place at[MOST_PLACES];
  size_t n;
} Places;

static void
collect(json_t *v, Places *all)
{
  const char *key;
  json_t *item;
  size_t i;
  json_object_foreach(v, key, item)
  {
    if (all->n < MOST_PLACES)
      all->at[all->n++] = (Place){v, key, 0};
    collect(item, all);
  }
  json_array_foreach(v, i, item)
  {
    if (all->n < MOST_PLACES)
      all->at[all->n++] = (Place){v, NULL, i};
    collect(item, all);
  }
}

static json_t *
value_at(const Place *p)
{
  return p->key ? json_object_get(p->parent, p->key) : json_array_get(p->parent, p->index);
}

static void
put_at(const Place *p, json_t *v)
{
  if (p->key)
    json_object_set_new(p->parent, p->key, v);
  else
    json_array_set_new(p->parent, p->index, v);
}

/* None so large that a grid of so many blocks is legal: that would be slow and no fault. */
static json_t *
other_number(json_int_t v)
{
  const json_int_t odd[] = {
      0,        1,  -1,  v + 1, v - 1, 2 * (v % (1 << 20)),       v / 2,
      3,        17, 128, 255,   4096,  (json_int_t)INT32_MAX + 1, INT64_MAX,
      INT64_MIN};
  return json_integer(odd[below(sizeof odd / sizeof *odd)]);
}

static json_t *
other_value(const json_t *v)
{
  static const char *const words[] = {"",         "q",    "lse", "sq",  "b",
                                      "sm_count", "i32",  "f32", "ptr", "map",
                                      "bytes",    "fp32", "out", "size"};
  if (json_is_integer(v) && below(16))
    return other_number(json_integer_value(v));
  switch (below(7)) {
  case 0:
    return json_null();
  case 1:
    return json_boolean(below(2));
  case 2:
    return json_real(below(2) ? 1e300 : -0.5);
  case 3:
    return json_array();
  case 4:
    return json_object();
  case 5:
    return other_number(1);
  default:
    return json_string(words[below(sizeof words / sizeof *words)]);
  }
}

static void
delete_at(const Place *p)
{
  if (p->key)
    json_object_del(p->parent, p->key);
  else
    json_array_remove(p->parent, p->index);
}

static void
double_at(const Place *p)
{
  json_t *copy = json_deep_copy(value_at(p));
  if (p->key)
    json_object_set_new(p->parent, "more", copy);
  else
    json_array_insert_new(p->parent, below(json_array_size(p->parent) + 1), copy);
}

/* A copy of what stands elsewhere. */
static void
exchange(const Place *p, const Places *all)
{
  put_at(p, json_deep_copy(value_at(&all->at[below(all->n)])));
}

static void
mutate(json_t *recipe)
{
  Places *all = malloc(sizeof *all);
  if (!all)
    die("out of memory");
  for (size_t n = 1 + below(3) / 2; n; n--) {
    all->n = 0;
    collect(recipe, all);
    const Place *p = &all->at[below(all->n)];
    switch (below(5)) {
    case 0:
      delete_at(p);
      break;
    case 1:
      double_at(p);
      break;
    case 2:
      exchange(p, all);
      break;
    default:
      put_at(p, other_value(value_at(p)));
    }
  }
  free(all);
}

/* ---- the bundle ---- */

static char dir[] = "/tmp/attnc-recipes-XXXXXX";

static void
write_file(const char *name, const char *text)
{
  char path[256];
  attnc_error e = {0};
  snprintf(path, sizeof path, "%s/%s", dir, name);
  if (file_write_stream(path, text, strlen(text), &e) != ATTNC_OK)
    die(e.message);
}

static void
write_bundle(const char *target, const char *ptx, const json_t *recipe)
{
  char ptx_hash[65], json_hash[65], manifest[400], name[64];
  char *json = json_dumps(recipe, JSON_COMPACT);
  if (!json)
    die("out of memory");
  sha256_hex(ptx, strlen(ptx), ptx_hash);
  sha256_hex(json, strlen(json), json_hash);
  snprintf(manifest, sizeof manifest, "%s  k.%s.json\n%s  k.%s.ptx\n", json_hash, target,
           ptx_hash, target);
  snprintf(name, sizeof name, "k.%s.json", target);
  write_file(name, json);
  snprintf(name, sizeof name, "k.%s.ptx", target);
  write_file(name, ptx);
  write_file("MANIFEST.sha256", manifest);
  free(json);
}

/* ---- a child ---- */

typedef enum End { END_LOAD, END_LAUNCH, END_DEVICE, END_RAN, END_COUNT } End;
static const char *const end_words[END_COUNT] = {
    "refused when loaded", "refused when launched", "stopped by the device", "ran"};

static CUdeviceptr
memory(const Device *d)
{
  CUdeviceptr p = 0;
  if (d->cuMemAlloc_v2(&p, BYTES) || d->cuMemsetD8_v2(p, 0, BYTES))
    die("no device memory");
  return p;
}

static End
launch(const Device *d, const attnc_plan *plan)
{
  attnc_tensor t[5];
  size_t workspace = 0;
  for (int i = 0; i < 5; i++) {
    t[i] = (attnc_tensor){(void *)(uintptr_t)memory(d), {SK * D * H, D, D * H, 1, 0}};
  }
  attnc_args a = {.size = sizeof a,
                  .sizes = &sizes,
                  .tensors = t,
                  .tensor_size = sizeof *t,
                  .n_tensors = 5};
  if (attnc_plan_workspace(plan, &sizes, &workspace) == ATTNC_OK && workspace)
    a.workspace = (void *)(uintptr_t)memory(d);
  a.workspace_bytes = workspace ? BYTES : 0;
  for (int i = 0; i < 2; i++) {
    attnc_status s = attnc_launch(plan, &a, NULL, NULL, NULL);
    if (s == ATTNC_ERR_DEVICE)
      return END_DEVICE;
    if (s != ATTNC_OK)
      return END_LAUNCH;
  }
  return d->cuCtxSynchronize() ? END_DEVICE : END_RAN;
}

static End
load_and_launch(const char *target)
{
  char why[600], settings[64];
  Device d;
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  snprintf(settings, sizeof settings, "arch=%.5s,fuel=2000000", target);
  if (!device_open(&d, NULL, settings, why, sizeof why))
    die(why);
  setenv("ATTNC_LIBCUDA", d.path, 1);
  if (attnc_bundle_open(dir, &b, NULL) != ATTNC_OK)
    return END_LOAD;
  End end = END_LOAD;
  if (attnc_bundle_plan(b, "k", &p, NULL) == ATTNC_OK) {
    end = launch(&d, p);
    free(strdup(attnc_plan_json(p)));
  }
  attnc_plan_release(p);
  attnc_bundle_release(b);
  device_close(&d);
  return end;
}

/* ---- the parent ---- */

typedef struct Made {
  char *ptx;
  json_t *recipe;
} Made;

static Made
make(int i)
{
  char text[400];
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  attnc_schedule how = {.size = sizeof how, .template_name = kernels[i].how};
  attnc_problem p = {.size = sizeof p, .sizes = &sizes};
  snprintf(text, sizeof text, "attnc: 1\nname: k\n%s", kernels[i].spec);
  if (attnc_spec_load(text, strlen(text), "k", &spec, NULL) != ATTNC_OK)
    die("a spec is refused");
  if (attnc_compile(spec, &p, kernels[i].target, &how, &k, &e) != ATTNC_OK)
    die(e.message);
  Made m = {strdup(attnc_kernel_ptx(k, NULL)), json_loads(attnc_kernel_json(k), 0, NULL)};
  attnc_kernel_release(k);
  attnc_spec_release(spec);
  return m;
}

/* How a child ended; -1: not by itself. */
static int
run_child(const char *target)
{
  int status;
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0)
    die("fork");
  if (pid == 0) {
    alarm(SECONDS);
    _exit(10 + (int)load_and_launch(target));
  }
  if (waitpid(pid, &status, 0) != pid)
    die("waitpid");
  int code = WIFEXITED(status) ? WEXITSTATUS(status) - 10 : -1;
  if (code >= 0 && code < END_COUNT)
    return code;
  if (WIFSIGNALED(status))
    printf("FAIL  signal %d\n", WTERMSIG(status));
  else
    printf("FAIL  exit status %d\n", WEXITSTATUS(status));
  return -1;
}

static void
show(const char *what, const json_t *recipe)
{
  char *text = json_dumps(recipe, JSON_COMPACT);
  printf("      %s: %s\n", what, text ? text : "");
  free(text);
}

int
main(int argc, char **argv)
{
  long count = argc > 1 ? atol(argv[1]) : 100, failed = 0, ends[END_COUNT] = {0};
  Made made[N_KERNELS];
  state = argc > 2 ? strtoull(argv[2], NULL, 0) : 88172645463325252u;
  state += !state;
  if (!mkdtemp(dir))
    die("no directory in /tmp");
  for (int i = 0; i < N_KERNELS; i++) {
    made[i] = make(i);
    write_bundle(kernels[i].target, made[i].ptx, made[i].recipe);
    if (run_child(kernels[i].target) != END_RAN) { /* as it is, it runs */
      printf("FAIL  %s does not run unchanged\n", kernels[i].what);
      failed++;
    }
  }
  for (long n = 0; n < count; n++) {
    int i = (int)(n % N_KERNELS);
    json_t *recipe = json_deep_copy(made[i].recipe);
    mutate(recipe);
    write_bundle(kernels[i].target, made[i].ptx, recipe);
    int end = run_child(kernels[i].target);
    if (end < 0) {
      failed++;
      show(kernels[i].what, recipe);
    } else {
      ends[end]++;
    }
    json_decref(recipe);
  }
  printf("%ld recipes: %ld did not end by themselves", count, failed);
  for (int i = 0; i < END_COUNT; i++)
    printf(", %ld %s", ends[i], end_words[i]);
  printf("\n");
  char command[64];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (system(command))
    die(command);
  for (int i = 0; i < N_KERNELS; i++) {
    free(made[i].ptx);
    json_decref(made[i].recipe);
  }
  return failed != 0 || ends[END_RAN] == 0 || ends[END_LOAD] == 0;
}
