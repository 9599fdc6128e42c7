/* emitted: what `attnc compile --emit c` writes, beside attnc_launch, on the emulator: from
 * the same call both give the same answer, and the same bytes where they compute.
 *
 *   e2e_emitted CC */
#include "base/arena.h"
#include "base/file.h"
#include "emit/emit_c.h"
#include "tests/e2e/device.h"

#include <attnc/attnc.h>

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { D = 64, B = 2, H = 4, HK = 2, SQ = 70, SK = 90, TENSORS = 6, AXES = 5 };
enum { BYTES = B * H * SK * D * 2 };

#define SPEC                                                                               \
  "attnc: 1\nname: k\ndtype: bf16\nhead_dim: 64\ncausal: true\nreturn_lse: true\n"         \
  "tensors: {doc: {dtype: i32, axes: [b, kv]}}\nscalars: {gain: run_time, cap: 1.0}\n"
/* The second kernel has a use for workspace, and can do without. */
static const char *const targets[] = {"sm_80", "sm_90a"};
static const char *const specs[] = {
    SPEC, SPEC "schedule: {template: fwd_wgmma, scheduler: dynamic}\n"};
enum { WORKSPACE = 4 };
static char dir[] = "/tmp/attnc-emitted-XXXXXX";

/* As the header that is written has them. */
typedef struct Args {
  long long b, h, hk, sq, sk;
  struct {
    CUdeviceptr data;
    long long stride[AXES];
  } q, k, v, o;
  CUdeviceptr lse, doc;
  long long doc_stride[AXES];
  float softmax_scale, gain, cap;
  CUdeviceptr workspace;
  size_t workspace_bytes;
} Args;
typedef struct Kernel {
  CUmodule module;
  CUfunction functions[1];
  int target, sm_count;
} Kernel;

static void
die(const char *what)
{
  fprintf(stderr, "e2e_emitted: %s\n", what);
  exit(2);
}

/* ---- the library ---- */

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
write_kernel(EmitC *c, const char *text, const char *target)
{
  attnc_kernel *k = NULL;
  attnc_spec *spec = NULL;
  attnc_error e = {0};
  char name[64];
  if (attnc_spec_load(text, strlen(text), "k", &spec, NULL) != ATTNC_OK ||
      attnc_compile(spec, NULL, target, NULL, &k, &e) != ATTNC_OK ||
      emit_c_kernel(c, attnc_kernel_json(k),
                    &(EmitImages){.ptx = attnc_kernel_ptx(k, NULL)}, &e) != ATTNC_OK)
    die(e.message);
  snprintf(name, sizeof name, "k.%s.ptx", target);
  write_file(name, attnc_kernel_ptx(k, NULL));
  snprintf(name, sizeof name, "k.%s.json", target);
  write_file(name, attnc_kernel_json(k));
  attnc_kernel_release(k);
  attnc_spec_release(spec);
}

static void
make_files(const char *cc)
{
  static const char cuda_h[] = "#include \"abi/cuda.h\"\n"
                               "#define X(need, name, args) CUresult name args;\n"
                               "CUDA_ENTRY_TABLE(X)\n#undef X\n";
  Arena *arena = arena_new(0);
  EmitC c;
  char command[1024];
  emit_c_start(&c, arena, "k");
  for (int i = 0; i < 2; i++)
    write_kernel(&c, specs[i], targets[i]);
  Str source = str_new(arena), header = str_new(arena);
  emit_c_finish(&c, &source, &header);
  write_file("k.c", source.p);
  write_file("k.h", header.p);
  write_file("cuda.h", cuda_h);
  arena_free(arena);
  snprintf(command, sizeof command,
           "cd %s && sha256sum k.*.json k.*.ptx > MANIFEST.sha256 && %s -std=c11 -Wall "
           "-Wextra -Wshadow -Werror %s -shared -fPIC -I. -I" SOURCE_DIR " k.c -o k.so",
           dir, cc, getenv("ATTNC_EMITTED_FLAGS") ? getenv("ATTNC_EMITTED_FLAGS") : "");
  if (system(command))
    die(command);
}

/* ---- calls ---- */

typedef struct Call {
  int64_t size[5]; /* b, h, hk, sq, sk */
  CUdeviceptr data[TENSORS];
  int64_t stride[TENSORS][AXES];
  double scale, gain;
  CUdeviceptr workspace; /* 0: none */
} Call;

/* What of a good call is changed; none: nothing. */
typedef enum Part {
  PART_NONE,
  PART_SIZE,
  PART_DATA,
  PART_STRIDE,
  PART_SCALE,
  PART_GAIN
} Part;
typedef struct Edit {
  Part part;
  int at, axis;
  double scale;
  int64_t value; /* DATA: added to the address */
  bool null;
} Edit;

static const struct {
  const char *what;
  bool taken;
  Edit edit[2];
} cases[] = {
    {"good", true, {{.part = PART_NONE}}},
    {"scale 0", false, {{PART_SCALE, .scale = 0}}},
    {"scale -1", false, {{PART_SCALE, .scale = -1}}},
    {"scale infinite", false, {{PART_SCALE, .scale = INFINITY}}},
    {"scale subnormal", false, {{PART_SCALE, .scale = 1e-40}}},
    {"scale that is 0 as fp32", false, {{PART_SCALE, .scale = 1e-60}}},
    {"scale NaN: the spec's", true, {{PART_SCALE, .scale = NAN}}},
    {"another scale", true, {{PART_SCALE, .scale = 0.5}}},
    {"q NULL", false, {{PART_DATA, 0, .null = true}}},
    {"k NULL", false, {{PART_DATA, 1, .null = true}}},
    {"v NULL", false, {{PART_DATA, 2, .null = true}}},
    {"o NULL", false, {{PART_DATA, 3, .null = true}}},
    {"lse NULL", false, {{PART_DATA, 4, .null = true}}},
    {"no keys", true, {{PART_SIZE, 4, .value = 0}}},
    {"no keys, k NULL", true, {{PART_SIZE, 4, .value = 0}, {PART_DATA, 1, .null = true}}},
    {"no queries, o NULL",
     true,
     {{PART_SIZE, 3, .value = 0}, {PART_DATA, 3, .null = true}}},
    {"no queries, scale 0", false, {{PART_SIZE, 3, .value = 0}, {PART_SCALE, .scale = 0}}},
    {"sk 2^32 + 96", false, {{PART_SIZE, 4, .value = (1LL << 32) + 96}}},
    {"sk 2^30 + 1", false, {{PART_SIZE, 4, .value = (1LL << 30) + 1}}},
    {"sq -1", false, {{PART_SIZE, 3, .value = -1}}},
    {"b -1", false, {{PART_SIZE, 0, .value = -1}}},
    {"sq INT64_MAX", false, {{PART_SIZE, 3, .value = INT64_MAX}}},
    {"sq INT64_MIN", false, {{PART_SIZE, 3, .value = INT64_MIN}}},
    {"h 3, hk 2", false, {{PART_SIZE, 1, .value = 3}}},
    {"hk 0", false, {{PART_SIZE, 2, .value = 0}}},
    {"q not aligned", false, {{PART_DATA, 0, .value = 2}}},
    {"o not aligned", false, {{PART_DATA, 3, .value = 8}}},
    {"lse not aligned", false, {{PART_DATA, 4, .value = 4}}},
    {"a row of q not aligned", false, {{PART_STRIDE, 0, 2, .value = D * H + 1}}},
    {"a head of k not aligned", false, {{PART_STRIDE, 1, 1, .value = D + 4}}},
    {"columns apart", false, {{PART_STRIDE, 2, 3, .value = 2}}},
    {"a fifth stride", false, {{PART_STRIDE, 0, 4, .value = 8}}},
    {"one batch, its stride odd",
     true,
     {{PART_SIZE, 0, .value = 1}, {PART_STRIDE, 0, 0, .value = 3}}},
    {"one batch, its stride the least",
     true,
     {{PART_SIZE, 0, .value = 1}, {PART_STRIDE, 1, 0, .value = INT64_MIN}}},
    {"stride INT64_MIN", false, {{PART_STRIDE, 0, 2, .value = INT64_MIN}}},
    {"stride 2^60", false, {{PART_STRIDE, 1, 0, .value = 1LL << 60}}},
    {"heads of o in one place", false, {{PART_STRIDE, 3, 1, .value = 0}}},
    {"heads of o that overlap", false, {{PART_STRIDE, 3, 1, .value = D / 2}}},
    {"heads of k in one place", true, {{PART_STRIDE, 1, 1, .value = 0}}},
    {"doc NULL", false, {{PART_DATA, 5, .null = true}}},
    {"doc aligned to an element", true, {{PART_DATA, 5, .value = 4}}},
    {"doc not aligned", false, {{PART_DATA, 5, .value = 2}}},
    {"rows of doc further apart", true, {{PART_STRIDE, 5, 0, .value = SK + 3}}},
    {"rows of doc in one place", true, {{PART_STRIDE, 5, 0, .value = 0}}},
    {"columns of doc apart", false, {{PART_STRIDE, 5, 1, .value = 2}}},
    {"a third stride of doc", false, {{PART_STRIDE, 5, 2, .value = 1}}},
    {"another gain", true, {{PART_GAIN, .scale = -3}}},
    {"no gain, and the spec has none", false, {{PART_GAIN, .scale = NAN}}},
    {"gain infinite", false, {{PART_GAIN, .scale = INFINITY}}},
};

static void
apply(const Edit *e, Call *c)
{
  switch (e->part) {
  case PART_NONE:
    break;
  case PART_SIZE:
    c->size[e->at] = e->value;
    break;
  case PART_DATA:
    c->data[e->at] = e->null ? 0 : c->data[e->at] + (CUdeviceptr)e->value;
    break;
  case PART_STRIDE:
    c->stride[e->at][e->axis] = e->value;
    break;
  case PART_SCALE:
    c->scale = e->scale;
    break;
  case PART_GAIN:
    c->gain = e->scale;
  }
}

static bool
by_attnc(const attnc_plan *p, const Call *c, char *why, size_t n)
{
  enum { SLOTS = ATTNC_SLOT_COUNT + 1, SCALARS = ATTNC_SCALAR_COUNT + 2 };
  static const char *const names[TENSORS] = {"q", "k", "v", "o", "lse", "doc"};
  attnc_tensor t[SLOTS] = {{0}};
  double numbers[SCALARS];
  attnc_error e = {0};
  const attnc_sizes sizes = {.size = sizeof sizes,
                             .b = c->size[0],
                             .h = c->size[1],
                             .hk = c->size[2],
                             .sq = c->size[3],
                             .sk = c->size[4]};
  for (int i = 0; i < TENSORS; i++) {
    attnc_tensor *x = &t[attnc_plan_slot(p, names[i])];
    x->data = (void *)(uintptr_t)c->data[i];
    memcpy(x->stride, c->stride[i], sizeof x->stride);
  }
  for (int i = 0; i < SCALARS; i++)
    numbers[i] = NAN; /* cap is the spec's */
  numbers[attnc_plan_scalar(p, "softmax_scale")] = c->scale;
  numbers[attnc_plan_scalar(p, "gain")] = c->gain;
  attnc_args a = {.size = sizeof a,
                  .sizes = &sizes,
                  .tensors = t,
                  .tensor_size = sizeof *t,
                  .n_tensors = SLOTS,
                  .scalars = numbers,
                  .n_scalars = SCALARS};
  attnc_status s = attnc_launch(p, &a, NULL, NULL, &e);
  snprintf(why, n, "%s", e.message);
  return s == ATTNC_OK;
}

static CUresult (*emitted_launch)(const Kernel *, const Args *, CUstream);

static bool
by_emitted(const Kernel *k, const Call *c)
{
  Args a = {.b = c->size[0],
            .h = c->size[1],
            .hk = c->size[2],
            .sq = c->size[3],
            .sk = c->size[4],
            .lse = c->data[4],
            .doc = c->data[5],
            .softmax_scale = (float)c->scale,
            .gain = (float)c->gain,
            .cap = NAN,
            .workspace = c->workspace,
            .workspace_bytes = c->workspace ? WORKSPACE : 0};
  a.q.data = c->data[0];
  a.k.data = c->data[1];
  a.v.data = c->data[2];
  a.o.data = c->data[3];
  for (int d = 0; d < AXES; d++) {
    a.q.stride[d] = c->stride[0][d];
    a.k.stride[d] = c->stride[1][d];
    a.v.stride[d] = c->stride[2][d];
    a.o.stride[d] = c->stride[3][d];
    a.doc_stride[d] = c->stride[5][d];
  }
  return emitted_launch(k, &a, NULL) == CUDA_SUCCESS;
}

/* ---- on a device ---- */

typedef struct Bench {
  Device d;
  Kernel kernel;
  attnc_plan *plan;
  CUdeviceptr data[TENSORS], workspace;
  uint16_t *got[2][2]; /* o and lse, of each */
  uint16_t *q;
} Bench;

/* Small numbers of bf16, another for each element. */
static void
fill(Bench *b)
{
  for (int i = 0; i < BYTES / 2; i++)
    b->q[i] = (uint16_t)(0x3f00 + i * 37 % 128);
  for (int i = 0; i < TENSORS; i++)
    if (b->d.cuMemcpyHtoD_v2(b->data[i], b->q, BYTES))
      die("a copy to the device failed");
}

static void
good(const Bench *b, Call *c)
{
  *c = (Call){.size = {B, H, HK, SQ, SK}, .scale = 0.125, .gain = 2};
  for (int i = 0; i < TENSORS; i++) {
    int64_t heads = i == 1 || i == 2 ? HK : H, rows = i == 1 || i == 2 ? SK : SQ;
    const int64_t stride[AXES] = {D * heads * rows, D, D * heads, 1, 0};
    c->data[i] = b->data[i];
    if (i < 4)
      memcpy(c->stride[i], stride, sizeof stride);
  }
  c->stride[5][0] = SK;
  c->stride[5][1] = 1;
}

static bool
read_back(Bench *b, int which)
{
  uint16_t *q = malloc(BYTES);
  unsigned counter = 1;
  char text[2000];
  bool ok = q && !b->d.cuCtxSynchronize() && !device_findings(&b->d, text, sizeof text) &&
            !b->d.cuMemcpyDtoH_v2(b->got[which][0], b->data[3], BYTES) &&
            !b->d.cuMemcpyDtoH_v2(b->got[which][1], b->data[4], BYTES) &&
            !b->d.cuMemcpyDtoH_v2(q, b->data[0], BYTES) && !memcmp(q, b->q, BYTES) &&
            !b->d.cuMemcpyDtoH_v2(&counter, b->workspace, WORKSPACE) && !counter;
  free(q);
  return ok;
}

static bool
same_outputs(const Bench *b)
{
  return !memcmp(b->got[0][0], b->got[1][0], BYTES) &&
         !memcmp(b->got[0][1], b->got[1][1], BYTES);
}

static int
run_cases(Bench *b, const char *target)
{
  int failed = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Call c;
    char why[600];
    good(b, &c);
    apply(&cases[i].edit[0], &c);
    apply(&cases[i].edit[1], &c);
    c.workspace = i % 2 ? b->workspace : 0;
    fill(b);
    bool x = by_attnc(b->plan, &c, why, sizeof why), x_ok = read_back(b, 0);
    fill(b);
    bool y = by_emitted(&b->kernel, &c), y_ok = read_back(b, 1);
    bool ok = x == cases[i].taken && x == y && x_ok && y_ok && same_outputs(b);
    failed += !ok;
    printf("%s  %s %s: attnc %s%s, emitted %s%s%s %s\n", ok ? "ok  " : "FAIL", target,
           cases[i].what, x ? "takes it" : "refuses it", x_ok ? "" : " (damage)",
           y ? "takes it" : "refuses it", y_ok ? "" : " (damage)",
           same_outputs(b) ? "" : ", other outputs", why);
  }
  return failed;
}

static void
open_bench(Bench *b, const char *target)
{
  char why[600], settings[32], path[256];
  attnc_bundle *bundle = NULL;
  attnc_error e = {0};
  snprintf(settings, sizeof settings, "arch=%.5s", target);
  if (!device_open(&b->d, NULL, settings, why, sizeof why))
    die(why);
  setenv("ATTNC_LIBCUDA", b->d.path, 1);
  if (attnc_bundle_open(dir, &bundle, &e) != ATTNC_OK ||
      attnc_bundle_plan(bundle, "k", &b->plan, &e) != ATTNC_OK)
    die(e.message);
  attnc_bundle_release(bundle);
  snprintf(path, sizeof path, "%s/k.so", dir);
  void *lib = dlopen(b->d.path, RTLD_NOW | RTLD_GLOBAL) ? dlopen(path, RTLD_NOW) : NULL;
  if (!lib)
    die(dlerror());
  CUresult (*load)(Kernel *);
  *(void **)&load = dlsym(lib, "k_load");
  *(void **)&emitted_launch = dlsym(lib, "k_launch");
  if (!load || !emitted_launch || load(&b->kernel))
    die("k_load");
  b->q = malloc(BYTES);
  for (int i = 0; i < 4; i++)
    b->got[i / 2][i % 2] = malloc(BYTES);
  for (int i = 0; i < TENSORS; i++)
    if (b->d.cuMemAlloc_v2(&b->data[i], BYTES))
      die("no device memory");
  if (b->d.cuMemAlloc_v2(&b->workspace, WORKSPACE) ||
      b->d.cuMemsetD8_v2(b->workspace, 0, WORKSPACE))
    die("no workspace");
}

static int
run_target(const char *target)
{
  Bench b = {0};
  open_bench(&b, target);
  int failed = run_cases(&b, target);
  attnc_plan_release(b.plan);
  for (int i = 0; i < 4; i++)
    free(b.got[i / 2][i % 2]);
  free(b.q);
  device_close(&b.d);
  fflush(stdout);
  return failed != 0;
}

int
main(int argc, char **argv)
{
  int failed = 0, status;
  char command[64];
  if (!mkdtemp(dir))
    die("no directory in /tmp");
  make_files(argc > 1 ? argv[1] : "cc");
  for (int i = 0; i < 2; i++) {
    fflush(NULL);
    pid_t pid = fork(); /* a device each */
    if (pid == 0)
      _exit(run_target(targets[i]));
    failed += pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
  }
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  return system(command) != 0 || failed != 0;
}
