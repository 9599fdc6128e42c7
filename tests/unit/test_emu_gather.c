/* Rows gathered from a tensor and scattered into it, and tensor maps that a kernel changes.
 */
#include "tests/unit/tma_kit.h"

/* The kit's kernels are for another chip. */
static char *
here(const char *ptx)
{
  static char text[16384];
  const char *target = strstr(ptx, "sm_90a");
  snprintf(text, sizeof text, "%.*ssm_100a%s", (int)(target - ptx), ptx, target + 6);
  return text;
}

#define GATHER(how)                                                                        \
  HEAD INIT "@%p1 bra WAIT;\n" EXPECT "cp.async.bulk.tensor.2d." how                       \
            " [tile], [%rd1, {%r1, %r2, %r3, %r4, %r5}], [%r11];\n" WAIT OUT
#define SCATTER(op)                                                                        \
  HEAD IN "fence.proxy.async.shared::cta; bar.sync 0;\n@%p1 bra END;\n"                    \
          "cp." op                                                                         \
          ".tile::scatter4.bulk_group [%rd1, {%r1, %r2, %r3, %r4, %r5}], [tile];\n" DONE

/* Findings: this name among them, and this part. */
static void
told(const char *name, const char *part)
{
  const char *text = kit_findings();
  if (!strstr(text, name) || !strstr(text, part))
    fail_msg("no [%s] '%s' in %s", name, part, text);
}

static const Shape rows = {.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                           .rank = 2,
                           .dims = {96, 40},
                           .strides = {256},
                           .box = {64, 1},
                           .steps = {1, 1, 1, 1, 1},
                           .swizzle = CU_TENSOR_MAP_SWIZZLE_128B};

/* Byte b of row i of the tile, by the swizzle of 128 bytes. */
static size_t
place(int i, int b)
{
  return (size_t)(128 * i + ((b / 16) ^ i) * 16 + b % 16);
}

static Run *
drawn(bool inside)
{
  Run *r = new_run(tensor_bytes(&rows));
  r->expect = 512;
  r->coord[0] = inside ? (int32_t)rnd(5) * 8 : (int32_t)rnd(120) - 40;
  for (int i = 0; i < 4; i++)
    r->coord[1 + i] = inside ? (int32_t)rnd(10) * 4 + i : (int32_t)rnd(60) - 10;
  return r;
}

static void
gathers(void **state)
{
  static const char *const ways[] = {
      GATHER("shared::cluster.global.tile::gather4.mbarrier::complete_tx::bytes"),
      GATHER("shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes"),
      GATHER("shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes.cta_group::1")};
  (void)state;
  for (int rep = 0; rep < 60; rep++) {
    Run *r = drawn(rep % 2);
    kit_set(policies[rep % 3]);
    OK(launch(here(ways[rep / 3 % 3]), &rows, r));
    kit_no_findings();
    for (int i = 0; i < 4; i++)
      for (int b = 0; b < 128; b++) {
        int x = r->coord[0] + b / 2, y = r->coord[1 + i];
        bool in = x >= 0 && x < 96 && y >= 0 && y < 40;
        int want = in ? r->tensor[256 * y + 2 * x + b % 2] : 0;
        assert_int_equal(((uint8_t *)r->side)[place(i, b)], want);
      }
    free_run(r);
  }
}

static void
scatters(void **state)
{
  (void)state;
  for (int rep = 0; rep < 40; rep++) {
    Run *r = drawn(rep % 2);
    bool adds = rep & 2;
    uint8_t tile[512], *before = malloc(r->bytes);
    for (int i = 1; i < 4; i++) /* rows are different ones */
      r->coord[1 + i] = r->coord[1 + i] / 4 * 4 + i;
    r->coord[1] = r->coord[1] / 4 * 4;
    memcpy(before, r->tensor, r->bytes);
    for (int k = 0; k < 128; k++)
      r->side[16 + k] = rnd(1 << 16) << 8;
    memcpy(tile, r->side + 16, sizeof tile);
    OK(launch(here(adds ? SCATTER("reduce.async.bulk.tensor.2d.global.shared::cta.or")
                        : SCATTER("async.bulk.tensor.2d.global.shared::cta")),
              adds ? &(Shape){.type = CU_TENSOR_MAP_DATA_TYPE_UINT32,
                              .rank = 2,
                              .dims = {48, 40},
                              .strides = {256},
                              .box = {32, 1},
                              .steps = {1, 1, 1, 1, 1},
                              .swizzle = CU_TENSOR_MAP_SWIZZLE_128B}
                   : &rows,
              r));
    kit_no_findings();
    int size = adds ? 4 : 2;
    for (int i = 0; i < 4; i++)
      for (int b = 0; b < 128; b++) {
        int x = r->coord[0] + b / size, y = r->coord[1 + i];
        if (x < 0 || x >= 192 / size || y < 0 || y >= 40)
          continue;
        uint8_t *at = &before[256 * y + size * x + b % size];
        *at = adds ? *at | tile[place(i, b)] : tile[place(i, b)];
      }
    assert_memory_equal(r->tensor, before, r->bytes);
    free(before);
    free_run(r);
  }
}

static void
refused(void **state)
{
  CUmodule m;
  char log[1000];
  Shape two = rows;
  Run *r = drawn(true);
  (void)state;
  two.box[1] = 2;
  assert_int_equal(
      launch(here(GATHER("shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes")),
             &two, r),
      CUDA_ERROR_LAUNCH_FAILED);
  told("tensor-map", "the map's box has 2 rows");
  assert_int_equal(
      launch(here(GATHER("shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes")),
             &plain, r),
      CUDA_ERROR_LAUNCH_FAILED);
  told("tensor-map", "a tensor map of rank 3 in an instruction of rank 2");
  assert_int_equal(
      kit_load(
          here(GATHER("shared::cluster.global.tile::gather4.mbarrier::complete_tx::bytes"
                      ".cta_group::2")),
          &m, log, sizeof log),
      CUDA_ERROR_INVALID_PTX);
  assert_non_null(strstr(log, "copies for a pair of CTAs are not emulated"));
  free_run(r);
}

/* ---- maps that change ---- */

/* The parameter's map goes to shared memory, is changed, and comes to global memory. */
#define CHANGED(changes, fence)                                                            \
  KIT_HEAD("8.6", "sm_90a")                                                                \
  ".global .align 128 .b8 gmap[128];\n"                                                    \
  ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 side) {\n"                 \
  ".reg .pred %p<9>; .reg .b32 %r<40>; .reg .b64 %rd<40>;\n"                               \
  ".shared .align 1024 .b8 tile[8192]; .shared .align 8 .b8 bar[8];\n"                     \
  ".shared .align 128 .b8 smap[128];\n"                                                    \
  "mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1; mov.u32 %r31, %tid.x;\n"                  \
  "ld.param.u64 %rd2, [side]; cvta.to.global.u64 %rd2, %rd2;\n"                            \
  "ld.global.u32 %r1, [%rd2]; ld.global.u32 %r2, [%rd2+4];\n"                              \
  "ld.global.u32 %r6, [%rd2+20]; ld.global.u64 %rd20, [%rd2+24];\n"                        \
  "mov.u32 %r10, tile; mov.u32 %r11, bar; setp.ne.u32 %p1, %r31, 0;\n"                     \
  "mul.wide.u32 %rd3, %r31, 4; setp.gt.u32 %p4, %r31, 31;\n"                               \
  "add.u64 %rd4, %rd1, %rd3; mov.u32 %r33, smap; shl.b32 %r34, %r31, 2;\n"                 \
  "add.u32 %r34, %r34, %r33;\n"                                                            \
  "@!%p4 ld.u32 %r35, [%rd4]; @!%p4 st.shared.u32 [%r34], %r35;\n"                         \
  "add.u64 %rd3, %rd3, %rd2; shl.b32 %r12, %r31, 2;\n"                                     \
  "shl.b32 %r30, %r31, 2; add.u32 %r12, %r12, %r10;\n" INIT "@%p1 bra CHANGED;\n" changes  \
  "CHANGED: bar.sync 0; @%p4 bra THERE;\n"                                                 \
  "mov.u64 %rd1, gmap;\n"                                                                  \
  "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned" \
  " [%rd1], [smap], 128;\n"                                                                \
  "THERE: bar.sync 0; mov.u64 %rd1, gmap;\n" fence                                         \
  "@%p1 bra WAIT;\n" EXPECT LOAD("2d", "%r1, %r2") WAIT OUT
#define FENCE "fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;\n"
#define REPLACE(field, type, value)                                                        \
  "tensormap.replace.tile." field ".shared::cta.b1024." type " [smap], " value ";\n"

/* The same tensor from 1024 bytes on, with fewer rows and another box and layout. */
#define OTHER                                                                              \
  "add.u64 %rd21, %rd20, 1024;\n" REPLACE("global_address", "b64", "%rd21")                \
      REPLACE("global_dim", "b32", "0, 80") REPLACE("global_dim", "b32", "1, 20")          \
          REPLACE("box_dim", "b32", "0, 32") REPLACE("box_dim", "b32", "1, 8")             \
              REPLACE("element_stride", "b32", "1, 2") REPLACE("swizzle_mode", "b32", "2") \
                  REPLACE("global_stride", "b64", "0, 512")

static void
changes(void **state)
{
  Shape before = rows, after = rows;
  (void)state;
  before.box[1] = 16;
  after.dims[0] = 80, after.dims[1] = 20, after.strides[0] = 512;
  after.box[0] = 32, after.box[1] = 8, after.steps[1] = 2;
  after.swizzle = CU_TENSOR_MAP_SWIZZLE_64B;
  for (int rep = 0; rep < 12; rep++) {
    Run *r = new_run(16384);
    uint8_t tile[TILE] = {0};
    r->expect = 32 * 2 * 4;
    r->coord[0] = (int32_t)rnd(100) - 10, r->coord[1] = (int32_t)rnd(30) - 5;
    kit_set(policies[rep % 3]);
    OK(launch(here(CHANGED(OTHER, FENCE)), &before, r));
    kit_no_findings();
    r->tensor += 1024;
    load_by_hand(&after, r, tile);
    r->tensor -= 1024;
    assert_memory_equal(r->side, tile, r->expect);
    free_run(r);
  }
}

static void
changed_wrongly(void **state)
{
  static const struct {
    const char *ptx, *name, *part;
    CUresult result;
  } cases[] = {
      {CHANGED(OTHER, ""), "tensor-map-proxy", "has no fence.proxy.tensormap",
       CUDA_SUCCESS},
      {CHANGED(REPLACE("box_dim", "b32", "0, 12"), FENCE), "tensor-map",
       "is wrong since a field was replaced: rows of the box have 24 bytes",
       CUDA_ERROR_ILLEGAL_ADDRESS},
      {CHANGED(REPLACE("global_dim", "b32", "1, 0"), FENCE), "tensor-map",
       "a dimension of no elements", CUDA_ERROR_ILLEGAL_ADDRESS},
      {CHANGED(REPLACE("swizzle_mode", "b32", "0") REPLACE("elemtype", "b32", "8"), FENCE),
       "tensor-map", "element types that are converted are not emulated",
       CUDA_ERROR_ILLEGAL_ADDRESS},
      {CHANGED("st.shared.u32 [smap+8], %r31;\nst.shared.u32 [smap+8], 1;\n" OTHER, FENCE),
       "tensor-map", "cuTensorMapEncodeTiled did not write these bytes",
       CUDA_ERROR_ILLEGAL_ADDRESS},
  };
  Shape before = rows;
  (void)state;
  before.box[1] = 4;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    Run *r = new_run(16384);
    r->expect = k ? 512 : 32 * 2 * 4;
    assert_int_equal(launch(here(cases[k].ptx), &before, r), cases[k].result);
    told(cases[k].name, cases[k].part);
    free_run(r);
  }
}

int
main(void)
{
  kit_start("arch=sm_100");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gathers),         cmocka_unit_test(scatters),
      cmocka_unit_test(refused),         cmocka_unit_test(changes),
      cmocka_unit_test(changed_wrongly),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
