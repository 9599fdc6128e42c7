/* What is told of wrong tensor copies, by the driver's functions, the decoder, and the
 * checks of a kernel from which something was left out. */
#include "tests/unit/tma_kit.h"

/* ---- what is told ---- */

static void
fails(const char *ptx, const Shape *s, CUresult want, const char *part)
{
  Run *r = new_run(tensor_bytes(s));
  assert_int_equal(launch(ptx, s, r), want);
  kit_found(part);
  free_run(r);
}

#define AT "shared::cluster.global.tile.mbarrier::complete_tx::bytes [tile"
static void
faults(void **state)
{
  (void)state;
  Shape s = plain;
  fails(
      replaced(loads[2], AT "]", AT "+64]"), &s, CUDA_ERROR_MISALIGNED_ADDRESS,
      "error[misaligned]: the box's address 0x440 in shared memory is no multiple of 128");
  fails(replaced(loads[2], AT "]", AT "+4224]"), &s, CUDA_ERROR_ILLEGAL_ADDRESS,
        "error[out-of-bounds]: 4096 bytes at byte 4224 of 8200 bytes of shared");
  fails(loads[1], &s, CUDA_ERROR_LAUNCH_FAILED,
        "error[tensor-map]: a tensor map of rank 3 in an instruction of rank 2");
  fails(replaced(loads[2], "mov.b64 %rd1, map;", "mov.b64 %rd1, side;"), &s,
        CUDA_ERROR_ILLEGAL_ADDRESS, "reaches over the end of the parameters");
  fails(replaced(loads[2], "mov.u32 %r31,", "add.u64 %rd1, %rd1, 32; mov.u32 %r31,"), &s,
        CUDA_ERROR_ILLEGAL_ADDRESS, "is not aligned to 64 bytes");
  fails(replaced(loads[2], "mov.u32 %r31,",
                 "mov.u64 %rd1, tile; cvta.shared.u64 %rd1, %rd1; mov.u32 %r31,"),
        &s, CUDA_ERROR_ILLEGAL_ADDRESS, "is in shared or local memory");
  s.dims[2] = 4; /* the box's second plane is behind the allocation */
  Run *r = new_run(tensor_bytes(&plain));
  r->coord[2] = 2;
  assert_int_equal(launch(loads[2], &s, r), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[out-of-bounds]: 128 bytes at 0x");
  kit_no_findings();
  free_run(r);
}

static void
not_a_map(void **state)
{
  CUtensorMap map;
  CUdeviceptr p;
  (void)state;
  OK(cuMemAlloc_v2(&p, SIDE));
  OK(cuMemsetD8_v2(p, 0, SIDE));
  memset(&map, 0, sizeof map);
  assert_int_equal(launch_with_map(loads[2], &map, p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("is none: cuTensorMapEncodeTiled did not write these bytes");
  OK(encode(&map, &plain, p));
  map.opaque[3] ^= 16;
  assert_int_equal(launch_with_map(loads[2], &map, p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[tensor-map]");
  OK(cuMemFree_v2(p));
}

/* A tensor of which the host has written the first plane. */
static void
uninitialised(void **state)
{
  CUtensorMap map;
  CUdeviceptr tensor, side;
  uint32_t head[16] = {0, 0, 0, 0, 0, 4096};
  (void)state;
  OK(cuMemAlloc_v2(&tensor, 3 * 5120));
  OK(cuMemsetD8_v2(tensor, 1, 5120));
  OK(cuMemAlloc_v2(&side, SIDE));
  OK(cuMemcpyHtoD_v2(side, head, sizeof head));
  OK(encode(&map, &plain, tensor));
  OK(launch_with_map(loads[2], &map, side));
  kit_found("error[uninitialised-global]");
  OK(cuMemsetD8_v2(tensor, 1, 3 * 5120));
  OK(launch_with_map(loads[2], &map, side));
  kit_no_findings();
  OK(cuMemFree_v2(tensor));
  OK(cuMemFree_v2(side));
}

/* Each thing left out of a correct kernel is told. */
static void
hazards(void **state)
{
  static const char store[] =
      STORES("async.bulk.", "3d.global.shared::cta.tile", "%r1, %r2, %r3");
  static const struct {
    const char *ptx, *from, *to, *part;
    CUresult result;
  } cases[] = {
      {NULL, "@!%p2 bra WAIT;", "", "error[async-read-before-wait]", CUDA_SUCCESS},
      {NULL, "fence.mbarrier_init.release.cluster;", "", "error[mbarrier-proxy]",
       CUDA_SUCCESS},
      {NULL, EXPECT, "mbarrier.arrive.expect_tx.shared::cta.b64 %rd9, [%r11], 4112;\n",
       "error[deadlock]", CUDA_ERROR_LAUNCH_TIMEOUT},
      {NULL, "INIT: bar.sync", "st.shared.u32 [tile], 0; INIT: bar.sync",
       "error[proxy-fence]", CUDA_SUCCESS},
      {NULL, "OUT: setp", "st.shared.u32 [tile+4], 0; OUT: setp", "error[race]",
       CUDA_SUCCESS},
      {store, "fence.proxy.async.shared::cta;", "", "error[proxy-fence]", CUDA_SUCCESS},
      {store, "bar.sync 0;", "", "error[async-overwrite]", CUDA_SUCCESS},
      {store, "cp.async.bulk.wait_group 0;", "", "error[bulk-store-unfinished]",
       CUDA_SUCCESS},
      {store, "cp.async.bulk.wait_group 0;", "st.shared.u32 [tile], 0;",
       "error[async-overwrite]", CUDA_SUCCESS},
  };
  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int policy = 0; policy < 3; policy++) {
      const char *ptx = cases[k].ptx ? cases[k].ptx : loads[2];
      Run *r = new_run(tensor_bytes(&plain));
      kit_set(policies[policy]);
      OK(launch(ptx, &plain, r));
      kit_no_findings();
      assert_int_equal(launch(replaced(ptx, cases[k].from, cases[k].to), &plain, r),
                       cases[k].result);
      kit_found(cases[k].part);
      free_run(r);
    }
}

/* A box of [2][16][64] whose second half lies past the end of dimension 2: nobody asks what
 * is there in shared memory.  Inside the tensor everybody does. */
static void
past_the_end(void **state)
{
  static const char store[] =
      STORES("async.bulk.", "3d.global.shared::cta.tile", "%r1, %r2, %r3");
  (void)state;
  for (int policy = 0; policy < 3; policy++)
    for (int inside = 0; inside < 2; inside++) {
      Run *r = new_run(tensor_bytes(&plain));
      kit_set(policies[policy]);
      r->expect = 2 * 16 * 64; /* so many bytes of the tile are written: half */
      r->coord[2] = inside ? 1 : 2;
      OK(launch(store, &plain, r));
      if (inside)
        kit_found("error[uninitialised-shared]");
      kit_no_findings();
      free_run(r);
    }
}

/* A row of 64 elements of which the last four were not written, or lie past the end. */
static void
past_the_row(void **state)
{
  static const char store[] =
      STORES("async.bulk.", "3d.global.shared::cta.tile", "%r1, %r2, %r3");
  (void)state;
  for (int policy = 0; policy < 3; policy++)
    for (int inside = 0; inside < 2; inside++) {
      Shape s = plain;
      Run *r = new_run(tensor_bytes(&plain));
      kit_set(policies[policy]);
      s.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
      s.box[1] = s.box[2] = 1;
      s.dims[0] = inside ? 64 : 60;
      r->expect = 120;
      OK(launch(store, &s, r));
      if (inside)
        kit_found("error[uninitialised-shared]");
      kit_no_findings();
      free_run(r);
    }
}

/* Rows 0 to 15 of two planes of 40 are written until a wait_group without .read. */
static void
read_back(void **state)
{
  static const char store[] =
      STORES("async.bulk.", "3d.global.shared::cta.tile", "%r1, %r2, %r3");
  static const struct {
    const char *wait;
    unsigned at;
    bool told;
  } cases[] = {
      {".read", 0, true},     {".read", 15 * 128 + 124, true}, {".read", 5120, true},
      {".read", 2048, false}, {".read", 2 * 5120, false},      {"", 0, false},
  };
  char text[300];
  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int policy = 0; policy < 3; policy++) {
      Run *r = new_run(tensor_bytes(&plain));
      kit_set(policies[policy]);
      snprintf(text, sizeof text,
               "wait_group%s 0;\nld.global.u64 %%rd20, [%%rd2+24];\n"
               "ld.global.u32 %%r20, [%%rd20+%u];\n",
               cases[k].wait, cases[k].at);
      OK(launch(replaced(store, "wait_group 0;", text), &plain, r));
      if (cases[k].told)
        kit_found("error[async-read-before-wait]: reads global memory at 0x");
      kit_no_findings();
      free_run(r);
    }
}

/* The map at side + 32768, used with and without a fence. */
#define IN_GLOBAL "add.u64 %rd1, %rd2, 32768; mov.u32 %r31,"
#define FENCE     "fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;\n"
static void
map_in_global_memory(void **state)
{
  (void)state;
  Run *r = new_run(tensor_bytes(&plain));
  CUtensorMap map;
  CUdeviceptr tensor, side;
  uint32_t head[16] = {0, 0, 0, 0, 0, 4096};
  char text[16384];
  OK(cuMemAlloc_v2(&tensor, r->bytes));
  OK(cuMemcpyHtoD_v2(tensor, r->tensor, r->bytes));
  OK(cuMemAlloc_v2(&side, SIDE));
  OK(cuMemcpyHtoD_v2(side, head, sizeof head));
  OK(encode(&map, &plain, tensor));
  OK(cuMemcpyHtoD_v2(side + 32768, &map, sizeof map));
  const char *ptx =
      replaced(loads[2], "@%p1 bra INIT;", "add.u64 %rd1, %rd2, 32768;\n@%p1 bra INIT;");
  OK(launch_with_map(ptx, &map, side));
  kit_found("error[tensor-map-proxy]: the tensor map at 0x");
  snprintf(text, sizeof text, "%s", ptx);
  ptx = replaced(text, "INIT: bar.sync", FENCE "INIT: bar.sync");
  OK(launch_with_map(ptx, &map, side));
  kit_no_findings();
  snprintf(text, sizeof text, "%s", ptx);
  ptx = replaced(text, "INIT: bar.sync", "st.global.u32 [%rd1+124], 0;\nINIT: bar.sync");
  assert_int_equal(launch_with_map(ptx, &map, side), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[tensor-map]");
  OK(cuMemFree_v2(tensor));
  OK(cuMemFree_v2(side));
  free_run(r);
}

/* ---- the driver's functions ---- */

static void
driver(void **state)
{
  CUtensorMap map;
  CUdeviceptr p;
  Shape s = plain;
  (void)state;
  OK(cuMemAlloc_v2(&p, 65536));
  OK(encode(&map, &s, p));
  kit_no_findings();
  uint64_t second;
  memcpy(&second, (char *)&map + 8, sizeof second);
  assert_int_equal(second, 0); /* where CUTLASS clears a bit of its own accord */
  s.box[1] = 300;
  assert_int_equal(encode(&map, &s, p), CUDA_ERROR_INVALID_VALUE);
  kit_found("ptx:0: error[tensor-map]: cuTensorMapEncodeTiled: the box has 300 elements");
  OK(cuCtxSetCurrent(NULL));
  assert_int_equal(encode(&map, &plain, p), CUDA_ERROR_INVALID_CONTEXT);
  CUcontext c;
  OK(cuDevicePrimaryCtxRetain(&c, 0));
  OK(cuCtxSetCurrent(c));
  OK(cuDevicePrimaryCtxRelease_v2(0));
  OK(cuMemFree_v2(p));
}

static void
launch_ex(void **state)
{
  uint32_t out = 0;
  CUmodule m;
  CUdeviceptr p;
  CUfunction f = kit_function(KIT("st.global.u32 [%rd1], 5;\n"), &m);
  CUlaunchAttribute a[2] = {
      {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {1, 1, 1}},
      {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
       .value.programmaticStreamSerializationAllowed = 1}};
  CUlaunchConfig c = {1, 1, 1, 32, 1, 1, 0, NULL, a, 2};
  (void)state;
  OK(cuMemAlloc_v2(&p, 4));
  OK(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL));
  OK(cuMemcpyDtoH_v2(&out, p, 4));
  assert_int_equal(out, 5);
  c.attrs = NULL;
  assert_int_equal(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuLaunchKernelEx(NULL, f, (void *[]){&p}, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  c.attrs = a;
  a[0].id = (CUlaunchAttributeID)99;
  assert_int_equal(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL), CUDA_ERROR_NOT_SUPPORTED);
  c.numAttrs = 0;
  OK(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL));
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

/* ---- what is not PTX ---- */

static void
refused(void **state)
{
  static const struct {
    const char *from, *to, *part;
  } cases[] = {
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1, {%r1, %r2}]", "expected 3 coordinates"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1]", "expected 3 coordinates"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1+64, {%r1, %r2, %r3}]", ""},
      {"[%rd1, {%r1, %r2, %r3}]", "[%r1, {%r1, %r2, %r3}]", "a register of 64 bits"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1, {%r1, %r2, %rd3}]", ".b32 here"},
      {"[%rd1, {%r1, %r2, %r3}]", "[map, {%r1, %r2, %r3}]", "in another state space"},
      {"[tile]", "[tile, {%r1}]", "coordinates are not expected here"},
      {"3d.shared", "6d.shared", ""},
      {"::bytes [tile]", "::bytes.L2::cache_hint [tile]", "go together"},
      {".target sm_90a", ".target sm_89", "needs .target sm_90"},
      {"8.6\n.target sm_90a", "7.8\n.target sm_90", "needs .version 8.0"},
  };
  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    CUmodule m;
    char log[1000];
    CUresult r =
        kit_load(replaced(loads[2], cases[k].from, cases[k].to), &m, log, sizeof log);
    assert_int_equal(r, CUDA_ERROR_INVALID_PTX);
    if (!strstr(log, cases[k].part))
      fail_msg("no '%s' in %s", cases[k].part, log);
  }
}

int
main(void)
{
  kit_start("arch=sm_90");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(faults),        cmocka_unit_test(not_a_map),
      cmocka_unit_test(uninitialised), cmocka_unit_test(map_in_global_memory),
      cmocka_unit_test(hazards),       cmocka_unit_test(read_back),
      cmocka_unit_test(past_the_end),  cmocka_unit_test(past_the_row),
      cmocka_unit_test(driver),        cmocka_unit_test(launch_ex),
      cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
