/* tma_kit.h: tensor maps, kernels that copy boxes, and launches of them, for the tests of
 * tensor copies. */
#ifndef ATTNC_TESTS_TMA_KIT_H
#define ATTNC_TESTS_TMA_KIT_H

#include "emulator/async/tma.h"
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

static inline CUresult
encode(CUtensorMap *map, const Shape *s, CUdeviceptr p)
{
  return cuTensorMapEncodeTiled(map, s->type, s->rank, (void *)(uintptr_t)p, s->dims,
                                s->strides, s->box, s->steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                s->swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, s->fill);
}

static inline uint32_t
box_bytes(const Shape *s)
{
  CUtensorMap map;
  TmaMap m;
  OK(encode(&map, s, 0));
  assert_true(tma_decode(&m, &map));
  return tma_box_bytes(&m);
}

/* ---- kernels: k(map, side) ---- */

/* side holds the coordinates, the box's bytes, the tensor's address, then data. */
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

static inline CUresult
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
  memcpy(head + 6, &tensor, sizeof tensor);
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
static inline uint32_t
rnd(uint32_t n)
{
  random_state = random_state * 1664525 + 1013904223;
  return (random_state >> 8) % n;
}

static inline Run *
new_run(size_t bytes)
{
  Run *r = calloc(1, sizeof *r);
  r->tensor = malloc(bytes);
  r->bytes = bytes;
  for (size_t i = 0; i < bytes; i++)
    r->tensor[i] = (uint8_t)rnd(256);
  return r;
}

static inline void
free_run(Run *r)
{
  free(r->tensor);
  free(r);
}

/* What the box is, by the pure code, which has its own test. */
static inline void
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

static inline size_t
tensor_bytes(const Shape *s)
{
  size_t n = s->dims[0] * 4;
  return s->rank > 1 ? s->strides[s->rank - 2] * s->dims[s->rank - 1] : n;
}

static inline CUresult
launch_with_map(const char *ptx, const CUtensorMap *map, CUdeviceptr side)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUresult r = cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, NULL,
                              (void *[]){(void *)(uintptr_t)map, &side}, NULL);
  OK(cuModuleUnload(m));
  return r;
}

#endif
