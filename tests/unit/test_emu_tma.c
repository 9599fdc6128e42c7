/* Tensor copies in kernels: loads, stores and reductions of boxes through the driver's
 * functions, under each policy of when they land; into clusters, and into products. */
#include "emulator/check/layout.h"
#include "tests/unit/tma_kit.h"

static Shape
shape_of_rank(uint32_t rank, CUtensorMapSwizzle swizzle)
{
  Shape s = {.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
             .rank = rank,
             .dims = {40, 9, 4, 3, 2},
             .strides = {160, 1440, 5760, 17280},
             .box = {16u << swizzle >> 2, 4, 2, 2, 2},
             .steps = {1, 1, 1, 1, 1},
             .swizzle = swizzle,
             .fill = swizzle % 2};
  return s;
}

static void
loads_of_every_rank(void **state)
{
  static uint8_t want[TILE];
  (void)state;
  for (uint32_t rank = 1; rank <= 5; rank++)
    for (int swizzle = 0; swizzle < 4; swizzle++) {
      Shape s = shape_of_rank(rank, (CUtensorMapSwizzle)swizzle);
      Run *r = new_run(tensor_bytes(&s));
      static const int32_t coord[5] = {-3, 4, -1, 1, 1};
      memcpy(r->coord, coord, sizeof coord);
      kit_set(policies[(rank + (uint32_t)swizzle) % 3]);
      memset(want, 0xaa, TILE);
      load_by_hand(&s, r, want);
      OK(launch(loads[rank - 1], &s, r));
      kit_no_findings();
      assert_memory_equal(r->side, want, box_bytes(&s));
      free_run(r);
    }
}

/* ---- stores and reductions ---- */

/* The part of the tensor that a store of the tile changes, by the pure code. */
static void
store_by_hand(const Shape *s, const Run *r, const uint8_t *tile, uint8_t *tensor)
{
  CUtensorMap map;
  TmaMap m;
  TmaRow row;
  uint8_t bytes[TMA_ROW];
  OK(encode(&map, s, 0));
  assert_true(tma_decode(&m, &map));
  for (TmaWalk w = tma_walk(&m, r->coord); tma_next(&w, &row);) {
    tma_gather_row(&m, &row, tile, 0, bytes);
    if (row.bytes)
      memcpy(tensor + row.global, bytes, row.bytes);
  }
}

static void
stores_of_every_rank(void **state)
{
  static const char *const stores[] = {
      STORES("async.bulk.", "1d.global.shared::cta.tile", "%r1"),
      STORES("async.bulk.", "2d.global.shared::cta", "%r1, %r2"),
      STORES("async.bulk.", "3d.global.shared::cta.tile", "%r1, %r2, %r3"),
      STORES("async.bulk.", "4d.global.shared::cta.tile", "%r1, %r2, %r3, %r4"),
      STORES("async.bulk.", "5d.global.shared::cta.tile", "%r1, %r2, %r3, %r4, %r5")};
  (void)state;
  for (uint32_t rank = 1; rank <= 5; rank++)
    for (int swizzle = 0; swizzle < 4; swizzle++) {
      Shape s = shape_of_rank(rank, (CUtensorMapSwizzle)swizzle);
      Run *r = new_run(tensor_bytes(&s));
      uint8_t *want = malloc(r->bytes);
      static const int32_t coord[5] = {33, -2, 2, 2, 0};
      memcpy(r->coord, coord, sizeof coord);
      for (size_t i = 16; i < SIDE / 4; i++)
        r->side[i] = rnd(UINT32_MAX);
      memcpy(want, r->tensor, r->bytes);
      store_by_hand(&s, r, (const uint8_t *)(r->side + 16), want);
      kit_set(policies[(rank + (uint32_t)swizzle) % 3]);
      OK(launch(stores[rank - 1], &s, r));
      kit_no_findings();
      assert_memory_equal(r->tensor, want, r->bytes);
      free(want);
      free_run(r);
    }
}

#define REDUCES(op)                                                                        \
  STORES("reduce.async.bulk.", "2d.global.shared::cta." op ".tile", "%r1, %r2")
static const char *const reduces[] = {REDUCES("add"), REDUCES("min"), REDUCES("max"),
                                      REDUCES("inc"), REDUCES("dec"), REDUCES("and"),
                                      REDUCES("or"),  REDUCES("xor")};
enum { ADD, MIN, MAX, INC, DEC, AND, OR, XOR, REDUCTIONS };

/* 2 rows of `bytes`, all inside. */
static Shape
two_rows(CUtensorMapDataType type, uint32_t elems, uint32_t bytes)
{
  return (Shape){.type = type,
                 .rank = 2,
                 .dims = {elems, 2},
                 .strides = {bytes},
                 .box = {elems, 2},
                 .steps = {1, 1}};
}

static void
reduces_words(void **state)
{
  (void)state;
  for (int op = 0; op < REDUCTIONS; op++)
    for (int sign = 0; sign < 2; sign++) {
      Shape s = two_rows(
          sign ? CU_TENSOR_MAP_DATA_TYPE_INT32 : CU_TENSOR_MAP_DATA_TYPE_UINT32, 12, 48);
      Run *r = new_run(96);
      uint32_t want[24], old[24];
      memcpy(old, r->tensor, 96);
      for (int i = 0; i < 24; i++) {
        uint32_t b = r->side[16 + i] = i % 4 ? rnd(UINT32_MAX) : old[i];
        bool less = sign ? (int32_t)old[i] < (int32_t)b : old[i] < b;
        const uint32_t results[] = {[ADD] = old[i] + b,
                                    [MIN] = less ? old[i] : b,
                                    [MAX] = less ? b : old[i],
                                    [INC] = old[i] >= b ? 0 : old[i] + 1,
                                    [DEC] = !old[i] || old[i] > b ? b : old[i] - 1,
                                    [AND] = old[i] & b,
                                    [OR] = old[i] | b,
                                    [XOR] = old[i] ^ b};
        want[i] = results[op];
      }
      CUresult result = launch(reduces[op], &s, r);
      if (sign && (op == INC || op == DEC)) {
        assert_int_equal(result, CUDA_ERROR_LAUNCH_FAILED);
        kit_found(
            "error[reduce-type]: this reduction has no form for elements of type INT32");
      } else {
        OK(result);
        kit_no_findings();
        assert_memory_equal(r->tensor, want, 96);
      }
      free_run(r);
    }
}

static void
reduces_floats(void **state)
{
  (void)state;
  Shape s = two_rows(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 40, 160);
  Run *r = new_run(320);
  float *t = (float *)(void *)r->tensor, *b = (float *)(void *)(r->side + 16);
  for (int i = 0; i < 80; i++)
    t[i] = (float)i, b[i] = 0.25f * (float)(i - 40);
  OK(launch(reduces[ADD], &s, r));
  for (int i = 0; i < 80; i++)
    assert_true(t[i] == (float)i + 0.25f * (float)(i - 40));
  assert_int_equal(launch(reduces[MAX], &s, r), CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[reduce-type]");
  free_run(r);
  s = two_rows(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 40, 80);
  for (int op = ADD; op <= MAX; op++) {
    r = new_run(160);
    uint16_t *h = (uint16_t *)(void *)r->tensor, *g = (uint16_t *)(void *)(r->side + 16);
    for (int i = 0; i < 80; i++)
      h[i] = 0x4000, g[i] = i % 2 ? 0x3f80 : 0x4080; /* 2; 1 or 4 */
    OK(launch(reduces[op], &s, r));
    kit_no_findings();
    static const uint16_t want[3][2] = {
        {0x40c0, 0x4040}, {0x4000, 0x3f80}, {0x4080, 0x4000}};
    for (int i = 0; i < 80; i++)
      assert_int_equal(h[i], want[op][i % 2]);
    free_run(r);
  }
}

/* The lane that issues the load lies behind the loop in which the others of its warp wait.
 */
static void
producer_behind_the_wait(void **state)
{
  (void)state;
  for (int policy = 0; policy < 3; policy++) {
    Run *r = new_run(tensor_bytes(&plain));
    static uint8_t want[TILE];
    load_by_hand(&plain, r, want);
    kit_set(policies[policy]);
    OK(launch(HEAD INIT "@!%p1 bra PRODUCE;\n" WAIT "bra OUT;\nPRODUCE: " EXPECT LOAD(
                  "3d", "%r1, %r2, %r3") "bra WAIT;\n" OUT,
              &plain, r));
    kit_no_findings();
    assert_memory_equal(r->side, want, 4096);
    free_run(r);
  }
}

/* Who asks in vain goes on, and brings it about itself. */
static void
asked_in_vain(void **state)
{
  (void)state;
  Run *r = new_run(tensor_bytes(&plain));
  static uint8_t want[TILE];
  load_by_hand(&plain, r, want);
  OK(launch(HEAD INIT "@%p1 bra WAIT;\n"
                      "mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r11], 0;\n"
                      "@%p2 trap;\n" EXPECT LOAD("3d", "%r1, %r2, %r3") WAIT OUT,
            &plain, r));
  kit_no_findings();
  assert_memory_equal(r->side, want, 4096);
  free_run(r);
}

/* ---- clusters ---- */

/* Each of two CTAs loads one plane into both; mask and the rest may be replaced. */
static const char both[] =
    HEAD "mov.u32 %r13, %cluster_ctarank; shl.b32 %r14, %r13, 11;\n"
         "add.u32 %r14, %r14, %r10; mul.wide.u32 %rd4, %r13, 16384;\n"
         "add.u64 %rd3, %rd3, %rd4;\n@%p1 bra INIT;\n"
         "mbarrier.init.shared::cta.b64 [%r11], 1;\n"
         "fence.mbarrier_init.release.cluster;\n"
         "INIT: barrier.cluster.arrive.release.aligned;\n"
         "barrier.cluster.wait.acquire.aligned;\n@%p1 bra WAIT;\n" EXPECT
         "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
         ".multicast::cluster [%r14], [%rd1, {%r1, %r2, %r13}], [%r11], 3;\n" WAIT
         "OUT: setp.ge.u32 %p3, %r30, %r6; @%p3 bra END;\n"
         "ld.shared.u32 %r20, [%r12]; st.global.u32 [%rd3+64], %r20;\n"
         "add.u32 %r12, %r12, 512; add.u64 %rd3, %rd3, 512; add.u32 %r30, %r30, 512;\n"
         "bra OUT;\nEND: barrier.cluster.arrive.release.aligned;\n"
         "barrier.cluster.wait.acquire.aligned;\nret;\n}\n";

static CUresult
launch_cluster(const char *ptx, const CUtensorMap *map, CUdeviceptr side)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                         .value.clusterDim = {2, 1, 1}};
  CUlaunchConfig c = {2, 1, 1, 128, 1, 1, 0, NULL, &a, 1};
  CUresult r = cuLaunchKernelEx(&c, f, (void *[]){(void *)(uintptr_t)map, &side}, NULL);
  OK(cuModuleUnload(m));
  return r;
}

static void
multicasts(void **state)
{
  (void)state;
  Shape s = plain;
  s.box[2] = 1;
  Run *r = new_run(tensor_bytes(&s));
  static uint8_t want[TILE], got[2][16384];
  uint32_t head[16] = {0, 1, 0, 0, 0, 4096};
  CUtensorMap map;
  CUdeviceptr tensor, side;
  OK(cuMemAlloc_v2(&tensor, r->bytes));
  OK(cuMemcpyHtoD_v2(tensor, r->tensor, r->bytes));
  OK(cuMemAlloc_v2(&side, SIDE));
  OK(encode(&map, &s, tensor));
  s.box[2] = 2;
  r->coord[1] = 1;
  load_by_hand(&s, r, want);
  for (int policy = 0; policy < 3; policy++) {
    kit_set(policies[policy]);
    OK(cuMemsetD8_v2(side, 0, SIDE));
    OK(cuMemcpyHtoD_v2(side, head, sizeof head));
    OK(launch_cluster(both, &map, side));
    kit_no_findings();
    OK(cuMemcpyDtoH_v2(got, side + 64, sizeof got));
    assert_memory_equal(got[0], want, 4096);
    assert_memory_equal(got[1], want, 4096);
  }
  assert_int_equal(launch_cluster(replaced(both, "[%r11], 3;", "[%r11], 5;"), &map, side),
                   CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[multicast]: the mask 0x5 names");
  assert_int_equal(launch_cluster(replaced(both, "[%r11], 3;", "[%r11], 0;"), &map, side),
                   CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[multicast]: the mask 0x0");
  assert_int_equal(launch_cluster(replaced(both, "[%r11], 3;", "[%r11], 1;"), &map, side),
                   CUDA_ERROR_LAUNCH_TIMEOUT);
  kit_found("error[deadlock]");
  /* again, while the other CTA may be reading what came first */
  static const char load[] =
      "mbarrier.arrive.expect_tx.shared::cta.b64 %rd9, [%r11], %r6;\n"
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%r14], [%rd1, {%r1, %r2, %r13}], [%r11], 3;\n"
      "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r11], 1;\n@!%p2 bra AGAIN;\n";
  char again[2048];
  snprintf(again, sizeof again, "END: bar.sync 1;\n@%%p1 bra AGAIN;\n%s", load);
  OK(launch_cluster(replaced(both, "END: ", again), &map, side));
  kit_found("error[async-overwrite]");
  OK(cuMemFree_v2(tensor));
  OK(cuMemFree_v2(side));
  free_run(r);
}

/* ---- tensor copies and products ---- */

#define PRODUCT(zero)                                                                      \
  "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3, %f4}, %rd10, "      \
  "%rd11, " zero ", 1, 1, 0, 0;\nadd.u64 %rd10, %rd10, 2; add.u64 %rd11, %rd11, 2;\n"

/* 72 rows of 64 in nine boxes: 64 rows of A, 8 of B, both K-major; D = A B^T. */
static const char *
product_of_boxes(const char *descriptor)
{
  static char text[8192];
  char boxes[2048] = "";
  for (int k = 0; k < 9; k++)
    snprintf(boxes + strlen(boxes), sizeof boxes - strlen(boxes),
             "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
             "[tile+%d], [%%rd1, {0, %d}], [%%r11];\n",
             1024 * k, 8 * k);
  snprintf(
      text, sizeof text,
      KIT_HEAD(
          "8.6",
          "sm_90a") ".visible .entry k(.param .align 64 .b8 map[128], "
                    ".param .u64 side) {\n"
                    ".reg .pred %%p<9>; .reg .b32 %%r<40>; .reg .b64 %%rd<40>; .reg .f32 "
                    "%%f<9>;\n"
                    ".shared .align 1024 .b8 tile[9216]; .shared .align 8 .b8 bar[8];\n"
                    "mov.b64 %%rd1, map; cvta.param.u64 %%rd1, %%rd1; mov.u32 %%r31, "
                    "%%tid.x;\n"
                    "ld.param.u64 %%rd2, [side]; mul.wide.u32 %%rd3, %%r31, 16;\n"
                    "add.u64 %%rd3, %%rd3, %%rd2; setp.ne.u32 %%p1, %%r31, 0; mov.u32 "
                    "%%r11, bar;\n"
                    "mov.u64 %%rd10, tile; shr.u64 %%rd10, %%rd10, 4; or.b64 %%rd10, "
                    "%%rd10, %s;\n"
                    "add.u64 %%rd11, %%rd10, 512;\n%s@%%p1 bra WAIT;\n"
                    "mbarrier.arrive.expect_tx.shared::cta.b64 %%rd9, [%%r11], 9216;\n%s%s"
                    "wgmma.fence.sync.aligned;\n%s%s%s%swgmma.commit_group.sync.aligned;\n"
                    "wgmma.wait_group.sync.aligned 0;\n"
                    "st.global.v4.f32 [%%rd3], {%%f1, %%f2, %%f3, %%f4};\nret;\n}\n",
      descriptor, INIT, boxes, WAIT, PRODUCT("0"), PRODUCT("1"), PRODUCT("1"),
      PRODUCT("1"));
  return text;
}

static void
products(void **state)
{
  enum { ROWS = 72, K = 64 };
  static const Shape s = {.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                          .rank = 2,
                          .dims = {K, ROWS},
                          .strides = {2 * K},
                          .box = {K, 8},
                          .steps = {1, 1},
                          .swizzle = CU_TENSOR_MAP_SWIZZLE_128B};
  static uint16_t t[ROWS * K];
  static int value[ROWS * K];
  static float d[128][4];
  CUdeviceptr tensor, side;
  CUtensorMap map;
  (void)state;
  for (int i = 0; i < ROWS * K; i++) {
    float f = (float)(value[i] = (int)rnd(17) - 8);
    uint32_t bits;
    memcpy(&bits, &f, 4);
    t[i] = (uint16_t)(bits >> 16);
  }
  OK(cuMemAlloc_v2(&tensor, sizeof t));
  OK(cuMemcpyHtoD_v2(tensor, t, sizeof t));
  OK(cuMemAlloc_v2(&side, sizeof d));
  OK(encode(&map, &s, tensor));
  for (int policy = 0; policy < 3; policy++) {
    kit_set(policies[policy]);
    OK(launch_with_map(product_of_boxes("0x4000004000010000"), &map, side));
    kit_no_findings();
    OK(cuMemcpyDtoH_v2(d, side, sizeof d));
    for (int m = 0; m < 64; m++)
      for (int n = 0; n < 8; n++) {
        int sum = 0, thread = m / 16 * 32 + m % 8 * 4 + n / 2, reg = m % 16 / 8 * 2 + n % 2;
        for (int k = 0; k < K; k++)
          sum += value[m * K + k] * value[(64 + n) * K + k];
        assert_true(d[thread][reg] == (float)sum);
      }
    OK(launch_with_map(product_of_boxes("0x8000004000010000"), &map, side));
    kit_found("error[wgmma-swizzle]: a descriptor of swizzle 64B reads byte");
  }
  OK(cuMemFree_v2(tensor));
  OK(cuMemFree_v2(side));
}

/* Lines know their swizzle until something else writes there. */
static void
lines(void **state)
{
  uint8_t line[8] = {0};
  Cta c = {.layout = line};
  (void)state;
  assert_int_equal(layout_at(&c, 300), LAYOUT_UNKNOWN);
  assert_false(c.laid_out);
  layout_set(&c, 128, 384, CU_TENSOR_MAP_SWIZZLE_64B);
  assert_true(c.laid_out);
  assert_int_equal(layout_at(&c, 127), LAYOUT_UNKNOWN);
  assert_int_equal(layout_at(&c, 128), CU_TENSOR_MAP_SWIZZLE_64B);
  assert_int_equal(layout_at(&c, 511), CU_TENSOR_MAP_SWIZZLE_64B);
  assert_int_equal(layout_at(&c, 512), LAYOUT_UNKNOWN);
  layout_set(&c, 380, 8, LAYOUT_UNKNOWN);
  assert_int_equal(layout_at(&c, 255), CU_TENSOR_MAP_SWIZZLE_64B);
  assert_int_equal(layout_at(&c, 256), LAYOUT_UNKNOWN);
  assert_int_equal(layout_at(&c, 384), LAYOUT_UNKNOWN);
}

int
main(void)
{
  kit_start("arch=sm_90");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loads_of_every_rank),
      cmocka_unit_test(stores_of_every_rank),
      cmocka_unit_test(reduces_words),
      cmocka_unit_test(reduces_floats),
      cmocka_unit_test(producer_behind_the_wait),
      cmocka_unit_test(asked_in_vain),
      cmocka_unit_test(multicasts),
      cmocka_unit_test(products),
      cmocka_unit_test(lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
