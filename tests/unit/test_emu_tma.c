/* Tensor copies in kernels: loads, stores and reductions of boxes through the driver's
 * functions, under each policy of when they land; what is told of wrong ones. */
#include "emulator/layout.h"
#include "emulator/tma.h"
#include "tests/unit/emu_kit.h"

enum { TILE = 8192, WORDS = TILE / 4, SIDE = 64 << 10 };

typedef struct Shape {
  CUtensorMapDataType type;
  uint32_t rank;
  uint64_t dims[5], strides[4];
  uint32_t box[5], steps[5];
  CUtensorMapSwizzle swizzle;
  CUtensorMapFloatOOBfill fill;
} Shape;

/* [3][40][64] of 16 bits. */
static const Shape plain = {.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                            .rank = 3,
                            .dims = {64, 40, 3},
                            .strides = {128, 5120},
                            .box = {64, 16, 2},
                            .steps = {1, 1, 1, 1, 1},
                            .swizzle = CU_TENSOR_MAP_SWIZZLE_128B};

static CUresult
encode(CUtensorMap *map, const Shape *s, CUdeviceptr p)
{
  return cuTensorMapEncodeTiled(map, s->type, s->rank, (void *)(uintptr_t)p, s->dims,
                                s->strides, s->box, s->steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                s->swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, s->fill);
}

static uint32_t
box_bytes(const Shape *s)
{
  CUtensorMap map;
  TmaMap m;
  OK(encode(&map, s, 0));
  assert_true(tma_decode(&m, &map));
  return tma_box_bytes(&m);
}

/* ---- kernels: k(map, side): side holds the coordinates, the box's bytes, then data ----
 */

#define HEAD                                                                               \
  KIT_HEAD("8.6", "sm_90a")                                                                \
  ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 side) {\n"                 \
  ".reg .pred %p<9>; .reg .b32 %r<40>; .reg .b64 %rd<40>;\n"                               \
  ".shared .align 1024 .b8 tile[8192]; .shared .align 8 .b8 bar[8];\n"                     \
  "mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1; mov.u32 %r31, %tid.x;\n"                  \
  "ld.param.u64 %rd2, [side]; cvta.to.global.u64 %rd2, %rd2;\n"                            \
  "ld.global.u32 %r1, [%rd2]; ld.global.u32 %r2, [%rd2+4]; ld.global.u32 %r3, "            \
  "[%rd2+8];\n"                                                                            \
  "ld.global.u32 %r4, [%rd2+12]; ld.global.u32 %r5, [%rd2+16]; ld.global.u32 %r6, "        \
  "[%rd2+20];\n"                                                                           \
  "mov.u32 %r10, tile; mov.u32 %r11, bar; setp.ne.u32 %p1, %r31, 0;\n"                     \
  "mul.wide.u32 %rd3, %r31, 4; add.u64 %rd3, %rd3, %rd2; shl.b32 %r12, %r31, 2;\n"         \
  "shl.b32 %r30, %r31, 2; add.u32 %r12, %r12, %r10;\n"
#define INIT                                                                               \
  "@%p1 bra INIT;\nmbarrier.init.shared::cta.b64 [%r11], 1;\n"                             \
  "fence.mbarrier_init.release.cluster;\nINIT: bar.sync 0;\n"
#define EXPECT "mbarrier.arrive.expect_tx.shared::cta.b64 %rd9, [%r11], %r6;\n"
#define LOAD(rank, coords)                                                                 \
  "cp.async.bulk.tensor." rank                                                             \
  ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [tile], "                     \
  "[%rd1, {" coords "}], [%r11];\n"
#define WAIT                                                                               \
  "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r11], 0;\n@!%p2 bra WAIT;\n"
/* The tile goes out behind the coordinates. */
#define OUT                                                                                \
  "OUT: setp.ge.u32 %p3, %r30, %r6; @%p3 bra END;\n"                                       \
  "ld.shared.u32 %r20, [%r12]; st.global.u32 [%rd3+64], %r20;\n"                           \
  "add.u32 %r12, %r12, 512; add.u64 %rd3, %rd3, 512; add.u32 %r30, %r30, 512;\n"           \
  "bra OUT;\nEND: ret;\n}\n"
#define LOADS(rank, coords)                                                                \
  HEAD INIT "@%p1 bra WAIT;\n" EXPECT LOAD(rank, coords)                                   \
  WAIT OUT

#define IN                                                                                 \
  "IN: setp.ge.u32 %p3, %r30, %r6; @%p3 bra NEXT;\n"                                       \
  "ld.global.u32 %r20, [%rd3+64]; st.shared.u32 [%r12], %r20;\n"                           \
  "add.u32 %r12, %r12, 512; add.u64 %rd3, %rd3, 512; add.u32 %r30, %r30, 512;\n"           \
  "bra IN;\nNEXT:\n"
#define STORE(op, rank, coords)                                                            \
  "cp." op "tensor." rank ".bulk_group [%rd1, {" coords "}], [tile];\n"
#define DONE "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEND: ret;\n}\n"
#define STORES(op, rank, coords)                                                           \
  HEAD IN "fence.proxy.async.shared::cta; bar.sync 0;\n@%p1 bra END;\n" STORE(op, rank,    \
                                                                              coords) DONE

static const char *const loads[] = {
    LOADS("1d", "%r1"), LOADS("2d", "%r1, %r2"), LOADS("3d", "%r1, %r2, %r3"),
    LOADS("4d", "%r1, %r2, %r3, %r4"), LOADS("5d", "%r1, %r2, %r3, %r4, %r5")};

/* ---- a launch ---- */

typedef struct Run {
  uint8_t *tensor; /* bytes of it, there and back */
  size_t bytes;
  int32_t coord[5];
  uint32_t side[SIDE / 4]; /* tile, there and back */
  uint32_t expect;         /* 0: the box's */
} Run;

static CUresult
launch(const char *ptx, const Shape *s, Run *r)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUtensorMap map;
  CUdeviceptr tensor, side;
  uint32_t head[16] = {0};
  OK(cuMemAlloc_v2(&tensor, r->bytes));
  OK(cuMemcpyHtoD_v2(tensor, r->tensor, r->bytes));
  OK(encode(&map, s, tensor));
  memcpy(head, r->coord, sizeof r->coord);
  head[5] = r->expect ? r->expect : box_bytes(s);
  OK(cuMemAlloc_v2(&side, SIDE));
  OK(cuMemcpyHtoD_v2(side, r->side, SIDE));
  OK(cuMemcpyHtoD_v2(side, head, sizeof head));
  CUresult result =
      cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, NULL, (void *[]){&map, &side}, NULL);
  OK(cuMemcpyDtoH_v2(r->tensor, tensor, r->bytes));
  OK(cuMemcpyDtoH_v2(r->side, side + 64, SIDE - 64));
  OK(cuMemFree_v2(tensor));
  OK(cuMemFree_v2(side));
  OK(cuModuleUnload(m));
  return result;
}

static uint32_t random_state = 7;
static uint32_t
rnd(uint32_t n)
{
  random_state = random_state * 1664525 + 1013904223;
  return (random_state >> 8) % n;
}

static Run *
new_run(size_t bytes)
{
  Run *r = calloc(1, sizeof *r);
  r->tensor = malloc(bytes);
  r->bytes = bytes;
  for (size_t i = 0; i < bytes; i++)
    r->tensor[i] = (uint8_t)rnd(256);
  return r;
}

static void
free_run(Run *r)
{
  free(r->tensor);
  free(r);
}

/* What the box is, by the pure code, which has its own test. */
static void
load_by_hand(const Shape *s, const Run *r, uint8_t *tile)
{
  CUtensorMap map;
  TmaMap m;
  TmaRow row;
  OK(encode(&map, s, 0));
  assert_true(tma_decode(&m, &map));
  for (TmaWalk w = tma_walk(&m, r->coord); tma_next(&w, &row);)
    tma_load_row(&m, &row, tile, 0, row.bytes ? r->tensor + row.global : NULL);
}

static const char *const policies[] = {"async=lazy", "async=eager", "async=random"};

static size_t
tensor_bytes(const Shape *s)
{
  size_t n = s->dims[0] * 4;
  return s->rank > 1 ? s->strides[s->rank - 2] * s->dims[s->rank - 1] : n;
}

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

/* ---- what is told ---- */

/* The plain load with something replaced. */
static const char *
replaced(const char *ptx, const char *old, const char *by)
{
  static char text[16384];
  const char *at = strstr(ptx, old);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - ptx), ptx, by, at + strlen(old));
  return text;
}

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

static CUresult
launch_with_map(const char *ptx, const CUtensorMap *map, CUdeviceptr side)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUresult r = cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, NULL,
                              (void *[]){(void *)(uintptr_t)map, &side}, NULL);
  OK(cuModuleUnload(m));
  return r;
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
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1, {%r1, %r2}]", "3 coordinates are due"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1]", "3 coordinates are due"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1+64, {%r1, %r2, %r3}]", ""},
      {"[%rd1, {%r1, %r2, %r3}]", "[%r1, {%r1, %r2, %r3}]", "a register of 64 bits"},
      {"[%rd1, {%r1, %r2, %r3}]", "[%rd1, {%r1, %r2, %rd3}]", ".b32 here"},
      {"[%rd1, {%r1, %r2, %r3}]", "[map, {%r1, %r2, %r3}]", "in another state space"},
      {"[tile]", "[tile, {%r1}]", "coordinates are not due here"},
      {"3d.shared", "6d.shared", ""},
      {"::bytes [tile]", "::bytes.L2::cache_hint [tile]", "go together"},
      {".target sm_90a", ".target sm_89", "needs .target sm_90"},
      {".version 8.6", ".version 7.8", "needs .version 8.0"},
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
      cmocka_unit_test(loads_of_every_rank),
      cmocka_unit_test(stores_of_every_rank),
      cmocka_unit_test(reduces_words),
      cmocka_unit_test(reduces_floats),
      cmocka_unit_test(faults),
      cmocka_unit_test(not_a_map),
      cmocka_unit_test(uninitialised),
      cmocka_unit_test(map_in_global_memory),
      cmocka_unit_test(hazards),
      cmocka_unit_test(multicasts),
      cmocka_unit_test(producer_behind_the_wait),
      cmocka_unit_test(asked_in_vain),
      cmocka_unit_test(products),
      cmocka_unit_test(lines),
      cmocka_unit_test(driver),
      cmocka_unit_test(launch_ex),
      cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
