/* Tensor maps from a bundle, on the emulated device: a kernel by hand copies boxes of Q to
 * O, so that every box has come from where the recipe and the arguments say. */
#include "tests/unit/rt.h"

#include "abi/cuda.h"

#include <dlfcn.h>

#define DEVICE_TABLE(X)                                                                    \
  X(cuInit, (unsigned))                                                                    \
  X(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))                                     \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice))                                              \
  X(cuCtxSetCurrent, (CUcontext))                                                          \
  X(cuCtxSynchronize, (void))                                                              \
  X(cuMemAlloc_v2, (CUdeviceptr *, size_t))                                                \
  X(cuMemFree_v2, (CUdeviceptr))                                                           \
  X(cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t))                                  \
  X(cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t))                                        \
  X(cuMemsetD8_v2, (CUdeviceptr, unsigned char, size_t))

static struct {
#define X(name, args) CUresult(*name) args;
  DEVICE_TABLE(X)
#undef X
  size_t (*findings)(char *, size_t);
} cu;

enum { B = 2, H = 8, HK = 2, G = H / HK, S = 21, D = 64, BOX = 16, ROWS = 32 };
typedef uint16_t Q[B][S][H][D]; /* bshd */
typedef uint16_t O[B][H][ROWS][D];
static Q q;
static O o;
static CUdeviceptr q_at, o_at;
static char *dir;

/* One warp: a box of 16 rows of 128 bytes from the map, then to O as it lies. */
#define PTX(rank, coordinates)                                                             \
  "// attnc mark " RT_MARK "\n"                                                            \
  ".version 8.0\n.target sm_90a\n.address_size 64\n"                                       \
  ".visible .entry attnc_fwd(.param .align 64 .b8 map[128], .param .u64 o)\n"              \
  ".reqntid 32, 1, 1\n{\n"                                                                 \
  ".reg .pred %leader, %done;\n.reg .b32 %r<16>;\n.reg .b64 %rd<8>;\n"                     \
  ".shared .align 128 .b8 tile[2048];\n.shared .align 8 .b64 bar;\n"                       \
  "mov.u32 %r0, %tid.x;\nsetp.ne.u32 %leader, %r0, 0;\n"                                   \
  "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ctaid.y;\nmov.u32 %r3, %ctaid.z;\n"               \
  "mov.u32 %r4, 0;\nshl.b32 %r5, %r1, 4;\nshl.b32 %r6, %r1, 2;\n"                          \
  "mov.u32 %r7, tile;\nmov.u32 %r8, bar;\n"                                                \
  "@%leader bra READY;\n"                                                                  \
  "mbarrier.init.shared::cta.b64 [%r8], 1;\n"                                              \
  "fence.mbarrier_init.release.cluster;\n"                                                 \
  "READY:\nbar.sync 0;\n@%leader bra WAIT;\n"                                              \
  "mov.b64 %rd0, map;\ncvta.param.u64 %rd0, %rd0;\n"                                       \
  "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], 2048;\n"                            \
  "cp.async.bulk.tensor." rank "d.shared::cluster.global.mbarrier::complete_tx::bytes "    \
  "[%r7], [%rd0, {" coordinates "}], [%r8];\n"                                             \
  "WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %done, [%r8], 0;\n"                     \
  "@!%done bra WAIT;\n"                                                                    \
  "ld.param.u64 %rd1, [o];\ncvta.to.global.u64 %rd1, %rd1;\n" /* where the box goes: block \
                                                                 (z * y + y) * x + x */    \
  "mov.u32 %r9, %nctaid.y;\nmad.lo.u32 %r9, %r3, %r9, %r2;\n"                              \
  "mov.u32 %r10, %nctaid.x;\nmad.lo.u32 %r9, %r9, %r10, %r1;\n"                            \
  "mul.wide.u32 %rd2, %r9, 2048;\nadd.s64 %rd1, %rd1, %rd2;\n"                             \
  "shl.b32 %r11, %r0, 4;\ncvt.u64.u32 %rd3, %r11;\nadd.s64 %rd1, %rd1, %rd3;\n"            \
  "add.u32 %r7, %r7, %r11;\n" COPY("0") COPY("512") COPY("1024") COPY("1536") "ret;\n}\n"
#define COPY(at)                                                                           \
  "ld.shared.v4.b32 {%r12, %r13, %r14, %r15}, [%r7+" at "];\n"                             \
  "st.global.v4.b32 [%rd1+" at "], {%r12, %r13, %r14, %r15};\n"

#define TENSORS                                                                            \
  "[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "},"          \
  "{\"name\":\"k\",\"slot\":1,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_k "},"           \
  "{\"name\":\"o\",\"slot\":3,\"dtype\":\"bf16\",\"access\":\"out\"" RT_OF_o "}]"
#define RECIPE(map, grid, more)                                                            \
  RT_RECIPE_OF("sm_90a", "true", TENSORS, "[]", RT_REQUIRES, "0",                          \
               "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[" map                    \
               ",{\"type\":\"ptr\",\"tensor\":3}],\"grid\":" grid                          \
               ",\"block\":[32,1,1]," more "\"shared\":0}}]")
#define ROWS_OF(slot, seq, heads)                                                          \
  "{\"type\":\"map\",\"tensor\":" slot ",\"dims\":[{\"n\":64},{\"size\":\"" seq            \
  "\",\"stride\":2},{\"size\":\"" heads "\",\"stride\":1},{\"size\":\"b\",\"stride\":0}]," \
  "\"box\":[64,16,1,1],\"swizzle\":0,\"l2\":128}"
#define PACKED                                                                             \
  "{\"type\":\"map\",\"tensor\":0,\"dims\":[{\"n\":64},{\"n\":4,\"stride\":1},"            \
  "{\"size\":\"sq\",\"stride\":2},{\"size\":\"hk\",\"stride\":1,\"times\":4},"             \
  "{\"size\":\"b\",\"stride\":0}],\"box\":[64,4,4,1,1],\"swizzle\":0,\"l2\":0}"
#define BY_TILE(n, heads)                                                                  \
  "[{\"ceil_div\":[\"sq\"," n "]},{\"size\":\"" heads "\"},{\"size\":\"b\"}]"

/* ---- the device ---- */

static int
setup(void **state)
{
  CUcontext context;
  (void)state;
  setenv("ATTNC_LIBCUDA", EMULATOR, 1);
  setenv("ATTNC_EMU", "arch=sm_90", 1);
  void *handle = dlopen(EMULATOR, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    fail_msg("%s", dlerror());
#define X(name, args)                                                                      \
  *(void **)&cu.name = dlsym(handle, #name);                                               \
  assert_non_null(*(void **)&cu.name);
  DEVICE_TABLE(X)
#undef X
  *(void **)&cu.findings = dlsym(handle, "attncEmuTakeFindings");
  for (int b = 0; b < B; b++)
    for (int s = 0; s < S; s++)
      for (int h = 0; h < H; h++)
        for (int d = 0; d < D; d++)
          q[b][s][h][d] = (uint16_t)(1 + d + D * (s + S * (h + H * b)));
  dir = rt_scratch();
  return cu.cuInit(0) || cu.cuDevicePrimaryCtxRetain(&context, 0) ||
         cu.cuCtxSetCurrent(context) || cu.cuMemAlloc_v2(&q_at, sizeof q) ||
         cu.cuMemAlloc_v2(&o_at, sizeof o) || cu.cuMemcpyHtoD_v2(q_at, q, sizeof q);
}

static int
teardown(void **state)
{
  (void)state;
  rt_remove(dir);
  return cu.cuMemFree_v2(q_at) || cu.cuMemFree_v2(o_at) || cu.cuCtxSetCurrent(NULL) ||
         cu.cuDevicePrimaryCtxRelease_v2(0);
}

/* ---- a kernel of a bundle ---- */

static attnc_plan *
plan_of(const char *ptx, const char *recipe)
{
  char json[4096], manifest[512], ptx_hash[65], json_hash[65];
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  const char *at = strchr(recipe, '@');
  sha256_hex(ptx, strlen(ptx), ptx_hash);
  snprintf(json, sizeof json, "%.*s%s%s", (int)(at - recipe), recipe, ptx_hash, at + 1);
  sha256_hex(json, strlen(json), json_hash);
  snprintf(manifest, sizeof manifest, "%s  k.sm_90a.json\n%s  k.sm_90a.ptx\n", json_hash,
           ptx_hash);
  rt_write(dir, "k.sm_90a.ptx", ptx, strlen(ptx));
  rt_write(dir, "k.sm_90a.json", json, strlen(json));
  rt_write(dir, "MANIFEST.sha256", manifest, strlen(manifest));
  if (attnc_bundle_open(dir, &b, &e) != ATTNC_OK ||
      attnc_bundle_plan(b, "k", &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  attnc_bundle_release(b);
  return p;
}

static void
launch(const attnc_plan *p, const attnc_tensor *t, int64_t sk)
{
  attnc_error e = {0};
  char text[2048];
  attnc_args a = {
      .size = sizeof a,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = B, .h = H, .hk = HK, .sq = S, .sk = sk},
      .tensors = t,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = 4};
  assert_int_equal(cu.cuMemsetD8_v2(o_at, 0xff, sizeof o), 0);
  if (attnc_launch(p, &a, NULL, NULL, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  assert_int_equal(cu.cuCtxSynchronize(), 0);
  if (cu.findings(text, sizeof text))
    fail_msg("%s", text);
  assert_int_equal(cu.cuMemcpyDtoH_v2(o, o_at, sizeof o), 0);
}

static void
tensors_fill(attnc_tensor t[4])
{
  for (int i = 0; i < 4; i++)
    t[i] = (attnc_tensor){(void *)(uintptr_t)q_at, {S * H * D, D, H * D, 1, 0}};
  t[3].data = (void *)(uintptr_t)o_at;
}

static void
expect_rows(void)
{
  for (int b = 0; b < B; b++)
    for (int h = 0; h < H; h++)
      for (int s = 0; s < ROWS; s++)
        for (int d = 0; d < D; d++)
          assert_int_equal(o[b][h][s][d], s < S ? q[b][s][h][d] : 0);
}

static void
test_rows(void **state)
{
  attnc_tensor t[4];
  (void)state;
  tensors_fill(t);
  attnc_plan *p = plan_of(PTX("4", "%r4, %r5, %r2, %r3"),
                          RECIPE(ROWS_OF("0", "sq", "h"), BY_TILE("16", "h"), ""));
  launch(p, t, S);
  expect_rows();
  attnc_plan_release(p);
  p = plan_of(
      PTX("4", "%r4, %r5, %r2, %r3"),
      RECIPE(ROWS_OF("0", "sq", "h"), BY_TILE("16", "h"), "\"serialization\":true,"));
  launch(p, t, S); /* by cuLaunchKernelEx */
  expect_rows();
  attnc_plan_release(p);
}

/* A box is four positions of the four heads of a group. */
static void
test_packed_heads(void **state)
{
  const uint16_t(*tile)[4][G][D] = (const uint16_t(*)[4][G][D])o;
  enum { TILES = (S + 3) / 4 };
  attnc_tensor t[4];
  (void)state;
  tensors_fill(t);
  attnc_plan *p =
      plan_of(PTX("5", "%r4, %r4, %r6, %r2, %r3"), RECIPE(PACKED, BY_TILE("4", "hk"), ""));
  launch(p, t, S);
  for (int b = 0; b < B; b++)
    for (int hk = 0; hk < HK; hk++)
      for (int i = 0; i < TILES; i++)
        for (int s = 0; s < 4; s++)
          for (int g = 0; g < G; g++)
            for (int d = 0; d < D; d++) {
              int at = 4 * i + s;
              assert_int_equal(tile[(b * HK + hk) * TILES + i][s][g][d],
                               at < S ? q[b][at][hk * G + g][d] : 0);
            }
  attnc_plan_release(p);
}

/* No keys and no memory for them: what is out of bounds is zero all the same. */
static void
test_no_keys(void **state)
{
  attnc_tensor t[4];
  (void)state;
  tensors_fill(t);
  t[1] = (attnc_tensor){0};
  attnc_plan *p = plan_of(PTX("4", "%r4, 5, %r4, %r4"),
                          RECIPE(ROWS_OF("1", "sk", "hk"), BY_TILE("16", "h"), ""));
  launch(p, t, 0);
  for (size_t i = 0; i < sizeof o; i++)
    assert_int_equal(((unsigned char *)o)[i], 0);
  attnc_plan_release(p);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
      cmocka_unit_test_setup_teardown(test_packed_heads, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_keys, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
