/* Generated C beside attnc_launch: from one recipe both hand the driver the same. */
#include "tests/unit/stub.h"

#include "emit/emit_c.h"
#include "compiler/kernel.h"
#include "runtime/plan.h"

#include <dlfcn.h>

/* As the generated header has them. */
typedef struct Args {
  long long b, h, hk, sq, sk;
  CUdeviceptr q;
  long long q_stride[5];
  CUdeviceptr k;
  long long k_stride[5];
  CUdeviceptr o;
  long long o_stride[5];
  CUdeviceptr lse;
  float softmax_scale;
  CUdeviceptr workspace;
  size_t workspace_bytes;
  long long num_splits, max_items;
} Args;
typedef struct Compiled {
  CUmodule module;
  CUfunction functions[2];
  int target, sm_count;
} Compiled;

#define MAP_Q                                                                              \
  "{\"type\":\"map\",\"tensor\":0,\"dims\":[{\"n\":64},{\"n\":4,\"stride\":1},"            \
  "{\"size\":\"sq\",\"stride\":2},{\"size\":\"hk\",\"stride\":1,\"times\":4},"             \
  "{\"size\":\"b\",\"stride\":0}],\"box\":[32,4,32,1,1],\"swizzle\":64,\"l2\":0}"
#define MAP_K                                                                              \
  "{\"type\":\"map\",\"tensor\":1,\"dims\":[{\"n\":64},{\"size\":\"sk\",\"stride\":2,"     \
  "\"slide\":64},{\"size\":\"hk\",\"stride\":1},{\"size\":\"b\",\"stride\":0}],"           \
  "\"box\":[64,64,1,1,1],\"swizzle\":128,\"l2\":256,\"fit\":\"sk\"}"
#define TENSORS                                                                            \
  "[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "},"          \
  "{\"name\":\"k\",\"slot\":1,\"dtype\":\"e4m3\",\"access\":\"in\"" RT_OF_k "},"           \
  "{\"name\":\"o\",\"slot\":3,\"dtype\":\"bf16\",\"access\":\"out\"" RT_OF_o "},"          \
  "{\"name\":\"lse\",\"slot\":4,\"dtype\":\"fp32\",\"access\":\"out\"" RT_OF_lse "}]"
/* By 0 without keys, and by 1 where there are many rows. */
#define SECTIONS                                                                           \
  "{\"quotient\":[{\"size\":\"h\"},{\"min\":[{\"size\":\"sk\"},{\"aside\":["               \
  "{\"add\":[{\"size\":\"hk\"},1]},{\"mul\":[{\"size\":\"sq\"},4]}]}]}]}"
#define STEPS                                                                              \
  "[{\"memset\":{\"workspace\":1,\"bytes\":{\"mul\":[2,{\"size\":\"b\"}]},\"value\":9}},"  \
  "{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[" MAP_Q                                \
  ",{\"type\":\"i32\",\"size\":\"sq\"}," MAP_K                                             \
  ",{\"type\":\"ptr\",\"tensor\":3},{\"type\":\"i64\",\"stride\":[3,2]},"                  \
  "{\"type\":\"f32\",\"scalar\":0}],\"grid\":[{\"min\":[{\"mul\":[{\"ceil_div\":"          \
  "[\"sq\",64]},2,{\"size\":\"b\"}]},{\"sms\":4}]},1," SECTIONS "],"                       \
  "\"block\":[384,1,1],\"cluster\":[2,1,1],\"serialization\":true,\"shared\":65536}},"     \
  "{\"launch\":{\"entry\":\"attnc_add\",\"params\":[{\"type\":\"ptr\",\"workspace\":1},"   \
  "{\"type\":\"ptr\",\"workspace\":0},{\"type\":\"i32\",\"size\":\"b\"}],"                 \
  "\"grid\":[{\"mul\":[{\"size\":\"b\"},{\"ceil_div\":[\"sq\",128]}]},1,1],"               \
  "\"block\":[64,1,1],\"cluster\":[1,1,1],\"shared\":1024}}]"
#define REGIONS                                                                            \
  "[{\"name\":\"parts\",\"bytes\":{\"mul\":[4,{\"size\":\"h\"},{\"min\":["                 \
  "{\"mul\":[{\"size\":\"b\"},{\"size\":\"sq\"}]},100000]}]}},"                            \
  "{\"name\":\"counts\",\"bytes\":{\"mul\":[4,{\"size\":\"b\"}]}}]"
static const char recipe[] =
    RT_RECIPE_OF("sm_90a", "true", TENSORS, RT_SCALARS, RT_REQUIRES, REGIONS, STEPS);
static const char ptx[] = RT_PTX_OF(
    ".param .align 64 .b8 q[128], .param .u32 sq, .param .align 64 .b8 k[128], "
    ".param .u64 o, .param .u64 o_s, .param .f32 scale") ".visible .entry attnc_add(.param "
                                                         ".u64 c, .param .u64 p, .param "
                                                         ".u32 b)\n{ ret; }\n";

static char *dir;
static void *library;
static CUresult (*by_hand_load)(Compiled *), (*by_hand_unload)(Compiled *);
static CUresult (*by_hand_launch)(const Compiled *, const Args *, CUstream);
static CUresult (*by_hand_workspace)(const Compiled *, const Args *, size_t *);
static _Alignas(256) unsigned char workspace[4 << 20];

/* ---- the generated library ---- */

static void
write_sources(void)
{
  static const char cuda_h[] = "#include \"abi/cuda.h\"\n"
                               "#define X(need, name, args) CUresult name args;\n"
                               "CUDA_ENTRY_TABLE(X)\n#undef X\n";
  Arena *arena = arena_new(0);
  EmitC c;
  attnc_error e = {0};
  Str source = str_new(arena), header = str_new(arena);
  emit_c_start(&c, arena, "by_hand");
  if (emit_c_kernel(&c, recipe, &(EmitImages){.ptx = ptx}, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  emit_c_finish(&c, &source, &header);
  rt_write(dir, "by_hand.c", source.p, source.n);
  rt_write(dir, "by_hand.h", header.p, header.n);
  rt_write(dir, "cuda.h", cuda_h, sizeof cuda_h - 1);
  arena_free(arena);
}

static int
setup(void **state)
{
  char command[1024], path[256];
  (void)state;
  stub_find();
  stub.stub_reset();
  stub.stub_cc(0, 90);
  stub_use(0);
  dir = rt_scratch();
  write_sources();
  snprintf(
      command, sizeof command,
      "%s -std=c11 -Wall -Wextra -Wshadow -Werror -shared -fPIC -I%s -I%s %s/by_hand.c "
      "-o %s/by_hand.so",
      CC, dir, SOURCE_DIR, dir, dir);
  snprintf(path, sizeof path, "%s/by_hand.so", dir);
  if (system(command) || !dlopen(STUB_LIBCUDA, RTLD_NOW | RTLD_GLOBAL) ||
      !(library = dlopen(path, RTLD_NOW)))
    return 1;
  *(void **)&by_hand_load = dlsym(library, "by_hand_load");
  *(void **)&by_hand_launch = dlsym(library, "by_hand_launch");
  *(void **)&by_hand_workspace = dlsym(library, "by_hand_workspace");
  *(void **)&by_hand_unload = dlsym(library, "by_hand_unload");
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  dlclose(library);
  rt_remove(dir);
  return stub.stub_modules() != 0 || stub.stub_primaries(0) != 0;
}

/* ---- both ---- */

static void
fill(Args *a, attnc_tensor *t, attnc_sizes *n, attnc_args *args)
{
  static _Alignas(256) char memory[256];
  CUdeviceptr *data[] = {&a->q, &a->k, NULL, &a->o, &a->lse};
  long long *strides[] = {a->q_stride, a->k_stride, NULL, a->o_stride, NULL};
  *a = (Args){.b = 2,
              .h = 8,
              .hk = 2,
              .sq = 300,
              .sk = 400,
              .softmax_scale = 0.5f,
              .workspace = (uintptr_t)workspace,
              .workspace_bytes = sizeof workspace};
  for (int i = 0; i < 5; i++) {
    const int64_t stride[5] = {512 * 20000, 64, 512, 1, 0};
    t[i].data = memory + 16 * i;
    memcpy(t[i].stride, stride, sizeof stride);
    if (!data[i])
      continue;
    *data[i] = (uintptr_t)t[i].data;
    if (strides[i])
      memcpy(strides[i], stride, sizeof stride);
  }
  *n = (attnc_sizes){.size = sizeof *n, .b = 2, .h = 8, .hk = 2, .sq = 300, .sk = 400};
  static const double scale = 0.5f;
  *args = (attnc_args){.size = sizeof *args,
                       .sizes = n,
                       .tensors = t,
                       .tensor_size = sizeof *t,
                       .n_tensors = 5,
                       .scalars = &scale,
                       .n_scalars = 1,
                       .workspace = workspace,
                       .workspace_bytes = sizeof workspace};
}

/* Where the memset of one launch wrote; clears it for the next. */
static size_t
filled(size_t *n)
{
  size_t at = 0;
  while (at < sizeof workspace && !workspace[at])
    at++;
  for (*n = 0; at + *n < sizeof workspace && workspace[at + *n] == 9; ++*n)
    workspace[at + *n] = 0;
  return at;
}

static void
same(const Compiled *k, const attnc_plan *p, const Args *a, const attnc_args *args)
{
  attnc_error e = {0};
  size_t need, as_much, n, as_many;
  int at = stub.stub_launches();
  assert_int_equal(by_hand_workspace(k, a, &need), CUDA_SUCCESS);
  assert_int_equal(attnc_plan_workspace(p, args->sizes, &as_much), ATTNC_OK);
  assert_int_equal(need, as_much);
  assert_int_equal(by_hand_launch(k, a, (CUstream)0x40), CUDA_SUCCESS);
  size_t where = filled(&n);
  if (attnc_launch(p, args, (void *)0x40, NULL, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  assert_int_equal(filled(&as_many), where);
  assert_true(n == as_many && n == 2 * (size_t)a->b && where + 2 * n == need);
  StubLaunch x = stub.stub_launch_at(at + 1), y = stub.stub_launch_at(at + 3);
  assert_string_equal(x.entry, "attnc_add");
  assert_memory_equal(&x, &y, sizeof x);
  x = stub.stub_launch_at(at);
  y = stub.stub_launch_at(at + 2);
  assert_int_equal(x.misaligned, 0);
  assert_true(x.extended && x.serialized);
  assert_int_equal(x.cluster[0], 2);
  assert_memory_equal(&x, &y, sizeof x);
}

static void
test_the_same_call(void **state)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  const Driver *drv = NULL;
  Compiled k;
  Args a;
  attnc_tensor t[5];
  attnc_sizes n;
  attnc_args args;
  PlanText text = {.ptx = ptx,
                   .json = recipe,
                   .json_n = strlen(recipe),
                   .source = "model",
                   .layer = "miss"};
  (void)state;
  assert_int_equal(drv_open(STUB_LIBCUDA, &drv, NULL), ATTNC_OK);
  if (plan_load(drv, &drv->devices[0], &text, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  assert_int_equal(by_hand_load(&k), CUDA_SUCCESS);
  fill(&a, t, &n, &args);
  same(&k, p, &a, &args);
  a.sq = n.sq = 20000; /* as many blocks as there are multiprocessors */
  same(&k, p, &a, &args);
  a.b = n.b = 1; /* one batch, at any stride */
  a.q_stride[0] = t[0].stride[0] = -1024;
  same(&k, p, &a, &args);
  fill(&a, t, &n, &args);
  a.sk = n.sk = 0; /* no keys, and no memory for them */
  a.k = 0;
  t[1].data = NULL;
  same(&k, p, &a, &args);
  fill(&a, t, &n, &args);
  a.sk = n.sk = 1; /* one key: a box slides over it at any stride */
  a.k_stride[2] = t[1].stride[2] = -48;
  same(&k, p, &a, &args);
  assert_int_equal(by_hand_unload(&k), CUDA_SUCCESS);
  attnc_plan_release(p);
  drv_close(drv);
}

/* Missing, too small, not aligned, and of sizes whose workspace 64 bits do not count. */
static void
test_workspace_refused(void **state)
{
  Compiled k;
  Args a;
  attnc_tensor t[5];
  attnc_sizes n;
  attnc_args args;
  size_t need;
  int before = stub.stub_launches();
  (void)state;
  assert_int_equal(by_hand_load(&k), CUDA_SUCCESS);
  fill(&a, t, &n, &args);
  assert_int_equal(by_hand_workspace(&k, &a, &need), CUDA_SUCCESS);
  a.workspace = 0;
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  a.workspace = (uintptr_t)workspace + 8;
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  a.workspace = (uintptr_t)workspace;
  a.workspace_bytes = need - 1;
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(stub.stub_launches(), before);
  a.workspace_bytes = need;
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_SUCCESS);
  a.h = INT64_MAX / 4;
  assert_int_equal(by_hand_workspace(&k, &a, &need), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(by_hand_unload(&k), CUDA_SUCCESS);
}

static void
test_the_same_refusals(void **state)
{
  static const long long strides[] = {-1024, 8, 1LL << 39};
  Compiled k;
  Args a;
  attnc_tensor t[5];
  attnc_sizes n;
  attnc_args args;
  (void)state;
  assert_int_equal(by_hand_load(&k), CUDA_SUCCESS);
  for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
    fill(&a, t, &n, &args);
    a.q_stride[2] = strides[i];
    assert_int_equal(by_hand_launch(&k, &a, NULL),
                     i == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
  }
  fill(&a, t, &n, &args);
  a.sq = a.b = 1 << 20; /* more blocks than a kernel counts, shared by a smaller grid */
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  a.sq = a.b = 1LL << 40; /* and than 64 bits */
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  a.sq = 0; /* of which there are none */
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_SUCCESS);
  fill(&a, t, &n, &args);
  stub.stub_fail("cuTensorMapEncodeTiled", 2, CUDA_ERROR_UNKNOWN);
  assert_int_equal(by_hand_launch(&k, &a, NULL), CUDA_ERROR_UNKNOWN);
  assert_int_equal(by_hand_unload(&k), CUDA_SUCCESS);
}

static bool
unloaded(Compiled *k, const Args *a)
{
  size_t need;
  return by_hand_launch(k, a, NULL) == CUDA_ERROR_INVALID_VALUE &&
         by_hand_workspace(k, a, &need) == CUDA_ERROR_INVALID_VALUE &&
         by_hand_unload(k) == CUDA_ERROR_INVALID_VALUE;
}

/* A pointer that is missing; a kernel whose load failed, or that was unloaded. */
static void
test_what_is_not_there(void **state)
{
  Compiled k;
  Args a;
  attnc_tensor t[5];
  attnc_sizes n;
  attnc_args args;
  size_t need;
  (void)state;
  fill(&a, t, &n, &args);
  assert_int_equal(by_hand_load(NULL), CUDA_ERROR_INVALID_VALUE);
  assert_true(unloaded(NULL, &a));
  for (int i = 1; i <= 2; i++) { /* the first entry, the second */
    memset(&k, 0xff, sizeof k);
    stub.stub_fail("cuModuleGetFunction", i, CUDA_ERROR_NOT_FOUND);
    assert_int_equal(by_hand_load(&k), CUDA_ERROR_NOT_FOUND);
    assert_true(unloaded(&k, &a));
  }
  assert_int_equal(stub.stub_modules(), 0);
  assert_int_equal(by_hand_load(&k), CUDA_SUCCESS);
  assert_int_equal(by_hand_launch(&k, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(by_hand_workspace(&k, NULL, &need), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(by_hand_workspace(&k, &a, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(by_hand_unload(&k), CUDA_SUCCESS);
  assert_true(unloaded(&k, &a));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_the_same_call, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_is_not_there, setup, teardown),
      cmocka_unit_test_setup_teardown(test_workspace_refused, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_same_refusals, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
