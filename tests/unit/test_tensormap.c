/* Tensor maps and the bytes of a box, without a device: the checks one by one, and where
 * each byte goes against formulae written from the figures of the PTX ISA. */
#include "emulator/async/tma.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Case {
  TmaArgs a;
  uint64_t dims[TMA_RANK], strides[TMA_RANK - 1];
  uint32_t box[TMA_RANK], steps[TMA_RANK];
} Case;

/* [4][3][100][64] of 16 bits, boxes of 64 × 32. */
static Case
good(void)
{
  return (Case){.a = {.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                      .rank = 4,
                      .address = 0x600000000000,
                      .swizzle = CU_TENSOR_MAP_SWIZZLE_128B,
                      .promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B},
                .dims = {64, 100, 3, 4},
                .strides = {128, 12800, 38400},
                .box = {64, 32, 1, 1},
                .steps = {1, 1, 1, 1, 1}};
}

static CUresult
encode(Case *c, CUtensorMap *map, char *why, size_t n)
{
  c->a.dims = c->dims;
  c->a.byte_strides = c->strides;
  c->a.box = c->box;
  c->a.element_strides = c->steps;
  *why = 0;
  return tma_encode(map, &c->a, why, n);
}

static void
expect(Case c, CUresult want, const char *part)
{
  CUtensorMap map;
  char why[200];
  assert_int_equal(encode(&c, &map, why, sizeof why), want);
  if (!strstr(why, part))
    fail_msg("no '%s' in '%s'", part, why);
}

#define REFUSED(change, part)                                                              \
  do {                                                                                     \
    Case c = good();                                                                       \
    change;                                                                                \
    expect(c, CUDA_ERROR_INVALID_VALUE, part);                                             \
  } while (0)
#define TAKEN(change)                                                                      \
  do {                                                                                     \
    Case c = good();                                                                       \
    change;                                                                                \
    expect(c, CUDA_SUCCESS, "");                                                           \
  } while (0)

static void
checks(void **state)
{
  (void)state;
  TAKEN(;);
  REFUSED(c.a.type = 13, "13 is no element type");
  REFUSED(c.a.rank = 0, "a rank of 0");
  REFUSED(c.a.rank = 6, "a rank of 6");
  REFUSED((c.a.rank = 2, c.a.interleave = 1), "an interleaved tensor of rank 2");
  REFUSED(c.a.interleave = 3, "3 is no interleave");
  REFUSED(c.a.swizzle = 4, "4 is no swizzle");
  REFUSED(c.a.promotion = 4, "4 is no promotion");
  REFUSED(c.a.fill = 2, "2 is no fill");
  REFUSED((c.a.type = CU_TENSOR_MAP_DATA_TYPE_UINT16, c.a.fill = 1), "UINT16 cannot be");
  REFUSED(c.a.address += 8, "no multiple of 16");
  REFUSED((c.a.address += 16, c.a.interleave = 2), "no multiple of 32");
  REFUSED(c.dims[2] = 0, "dimension 2 of 0 elements");
  REFUSED(c.dims[2] = ((uint64_t)1 << 32) + 1, "dimension 2 of 4294967297");
  TAKEN(c.dims[2] = (uint64_t)1 << 32);
  REFUSED(c.strides[1] += 8, "the stride of dimension 2, 12808 bytes");
  REFUSED(c.strides[2] = (uint64_t)1 << 40, "dimension 3, 1099511627776 bytes, is 2^40");
  TAKEN(c.strides[2] = ((uint64_t)1 << 40) - 16);
  TAKEN(c.strides[2] = 0);
  REFUSED(c.box[1] = 0, "the box has 0 elements along dimension 1");
  REFUSED(c.box[1] = 257, "the box has 257 elements");
  TAKEN(c.box[1] = 256);
  REFUSED(c.steps[3] = 0, "the element stride along dimension 3 is 0");
  REFUSED(c.steps[3] = 9, "the element stride along dimension 3 is 9");
  TAKEN(c.steps[3] = 8);
  REFUSED((c.box[0] = 4, c.a.swizzle = 0), "rows of the box have 8 bytes");
  REFUSED(c.box[0] = 72, "rows of the box have 144 bytes, more than the swizzle's 128");
  REFUSED((c.box[0] = 64, c.a.swizzle = 2), "more than the swizzle's 64");
  REFUSED((c.box[0] = 32, c.a.swizzle = 1), "more than the swizzle's 32");
  TAKEN((c.box[0] = 256, c.a.swizzle = 0));
  REFUSED(c.a.interleave = 2, "goes with a swizzle of 32 bytes alone");
}

static void
not_emulated(void **state)
{
  Case c = good();
  (void)state;
  c.box[0] = 32;
  expect(c, CUDA_ERROR_NOT_SUPPORTED, "swizzles wider than the box's rows");
  c = good();
  c.a.interleave = CU_TENSOR_MAP_INTERLEAVE_16B;
  expect(c, CUDA_ERROR_NOT_SUPPORTED, "interleaved");
  c = good();
  c.a.type = CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  c.box[0] = 32;
  expect(c, CUDA_ERROR_NOT_SUPPORTED, "converted");
}

static void
missing(void **state)
{
  Case c = good();
  _Alignas(64) char bytes[256];
  char why[200];
  (void)state;
  encode(&c, (CUtensorMap *)(void *)bytes, why, sizeof why);
  assert_int_equal(tma_encode((void *)(bytes + 32), &c.a, why, sizeof why),
                   CUDA_ERROR_INVALID_VALUE);
  assert_non_null(strstr(why, "no multiple of 64"));
  assert_int_equal(tma_encode(NULL, &c.a, why, sizeof why), CUDA_ERROR_INVALID_VALUE);
  for (int i = 0; i < 4; i++) {
    TmaArgs a = c.a;
    a.dims = i == 0 ? NULL : a.dims;
    a.byte_strides = i == 1 ? NULL : a.byte_strides;
    a.box = i == 2 ? NULL : a.box;
    a.element_strides = i == 3 ? NULL : a.element_strides;
    assert_int_equal(tma_encode((void *)bytes, &a, why, sizeof why),
                     CUDA_ERROR_INVALID_VALUE);
  }
  c.a.rank = 1;
  c.a.byte_strides = NULL;
  assert_int_equal(tma_encode((void *)bytes, &c.a, why, sizeof why), CUDA_SUCCESS);
}

/* What is written comes back; one changed bit does not. */
static void
round_trip(void **state)
{
  Case c = good();
  CUtensorMap map;
  TmaMap m;
  char why[200];
  (void)state;
  c.steps[0] = 3;
  c.steps[1] = 3;
  c.dims[3] = (uint64_t)1 << 32;
  assert_int_equal(encode(&c, &map, why, sizeof why), CUDA_SUCCESS);
  assert_true(tma_decode(&m, &map));
  assert_int_equal(m.address, c.a.address);
  assert_int_equal(m.rank, 4);
  assert_int_equal(m.elem, 2);
  assert_int_equal(m.stride[0], 2);
  assert_int_equal(m.count[0], 64); /* dimension 0 has no element stride */
  assert_int_equal(m.count[1], 11);
  assert_int_equal(m.step[1], 3);
  assert_int_equal(m.count[4], 1);
  assert_int_equal(m.dim[3], (uint64_t)1 << 32);
  assert_int_equal(m.stride[3], 38400);
  assert_int_equal(tma_box_bytes(&m), 11 * 128);
  for (int bit = 0; bit < 1024; bit++) {
    CUtensorMap other = map;
    other.opaque[bit / 64] ^= 1ull << bit % 64;
    assert_false(tma_decode(&m, &other));
  }
  memset(&map, 0, sizeof map);
  assert_false(tma_decode(&m, &map));
}

/* ---- boxes against the figures ---- */

enum { SHARED = 1 << 16, MEMORY = 1 << 16 };

/* PTX ISA, "Swizzling modes": rows of the span; in a row of 128 bytes chunk c of row r is
 * at c ^ r % 8; rows of 64 bytes take turns in pairs, of 32 bytes by fours.  A tile that
 * starts 128 · s bytes behind a multiple of 1024 starts with the pattern of line s. */
static uint32_t
figure(int swizzle, uint32_t base, uint32_t at)
{
  uint32_t span = swizzle ? 16u << swizzle : 128, per_line = 128 / span;
  uint32_t r = at / span, c = at % span / 16, line = base / 128 + r / per_line;
  uint32_t turn = swizzle == 3 ? line % 8 : swizzle == 2 ? line % 4 : line % 2;
  c = swizzle ? c ^ turn : c;
  return base + r * span + c * 16 + at % 16;
}

static uint32_t random_state = 1;
static uint32_t
rnd(uint32_t n)
{
  random_state = random_state * 1664525 + 1013904223;
  return (random_state >> 8) % n;
}

static Case
random_case(int elem_type)
{
  Case c = good();
  c.a.type = (CUtensorMapDataType)elem_type;
  static const uint32_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2};
  uint32_t elem = bytes[elem_type];
  c.a.rank = 1 + rnd(5);
  c.a.swizzle = (CUtensorMapSwizzle)rnd(4);
  c.a.fill = tma_type_is_float(elem_type) ? (CUtensorMapFloatOOBfill)rnd(2) : 0;
  c.a.address = 16 * rnd(8);
  uint64_t stride = 0;
  for (uint32_t i = 0; i < c.a.rank; i++) {
    c.dims[i] = 1 + rnd(i ? 4 : 48);
    c.box[i] = 1 + rnd(5);
    c.steps[i] = 1 + rnd(i ? 3 : 1);
    stride = i ? stride * c.dims[i] : (c.dims[0] * elem + 15) / 16 * 16 + 16 * rnd(2);
    if (i + 1 < c.a.rank)
      c.strides[i] = stride;
  }
  c.box[0] = (c.a.swizzle ? 16u << c.a.swizzle : 16 * (1 + rnd(4))) / elem;
  return c;
}

/* The value at each shared byte of the box, by multi-index. */
static void
by_hand(const Case *c, const TmaMap *m, const int32_t *coord, const uint8_t *memory,
        uint32_t base, uint8_t *shared)
{
  uint32_t n[5] = {1, 1, 1, 1, 1}, at = 0;
  for (uint32_t i = 0; i < c->a.rank; i++)
    n[i] = i ? (c->box[i] + c->steps[i] - 1) / c->steps[i] : c->box[0];
  for (uint32_t k = 0; k < n[0] * n[1] * n[2] * n[3] * n[4]; k++) {
    uint32_t rest = k;
    bool in = true;
    int64_t from = (int64_t)c->a.address;
    for (uint32_t i = 0; i < c->a.rank; i++) {
      int64_t x = coord[i] + (int64_t)(rest % n[i] * (i ? c->steps[i] : 1));
      rest /= n[i];
      in = in && x >= 0 && x < (int64_t)c->dims[i];
      from += x * (int64_t)(i ? c->strides[i - 1] : m->elem);
    }
    for (uint32_t b = 0; b < m->elem; b++, at++) {
      uint8_t nan = b + 1 == m->elem ? 0x7f : 0xff;
      shared[figure((int)c->a.swizzle, base, at)] = in          ? memory[from + b]
                                                    : c->a.fill ? nan
                                                                : 0;
    }
  }
}

static void
load_box(const TmaMap *m, const int32_t *coord, const uint8_t *memory, uint32_t base,
         uint8_t *shared)
{
  TmaRow row;
  for (TmaWalk w = tma_walk(m, coord); tma_next(&w, &row);)
    tma_load_row(m, &row, shared, base, row.bytes ? memory + row.global : NULL);
}

static void
store_box(const TmaMap *m, const int32_t *coord, uint8_t *memory, uint32_t base,
          const uint8_t *shared)
{
  TmaRow row;
  uint8_t bytes[TMA_ROW];
  for (TmaWalk w = tma_walk(m, coord); tma_next(&w, &row);) {
    tma_gather_row(m, &row, shared, base, bytes);
    if (row.bytes)
      memcpy(memory + row.global, bytes, row.bytes);
  }
}

static void
boxes(void **state)
{
  uint8_t *memory = malloc(MEMORY), *copy = malloc(MEMORY);
  uint8_t *got = malloc(SHARED), *want = malloc(SHARED);
  (void)state;
  for (int i = 0; i < MEMORY; i++)
    memory[i] = (uint8_t)rnd(256);
  for (int round = 0; round < 4000; round++) {
    Case c = random_case((int)rnd(10));
    CUtensorMap map;
    TmaMap m;
    char why[200];
    int32_t coord[5];
    if (encode(&c, &map, why, sizeof why))
      fail_msg("%s", why);
    assert_true(tma_decode(&m, &map));
    for (uint32_t i = 0; i < c.a.rank; i++)
      coord[i] = (int32_t)rnd((uint32_t)c.dims[i] + 20) - 10;
    uint32_t base = 128 * rnd(16);
    memset(got, 0xaa, SHARED);
    memset(want, 0xaa, SHARED);
    by_hand(&c, &m, coord, memory, base, want);
    load_box(&m, coord, memory, base, got);
    assert_memory_equal(got, want, SHARED);
    /* a store of what was loaded changes nothing; of a wiped tensor, what is inside */
    memcpy(copy, memory, MEMORY);
    store_box(&m, coord, copy, base, got);
    assert_memory_equal(copy, memory, MEMORY);
    memset(copy, 0x55, MEMORY);
    store_box(&m, coord, copy, base, got);
    memset(want, 0xaa, SHARED);
    load_box(&m, coord, copy, base, want);
    assert_memory_equal(got, want, SHARED);
  }
  free(memory);
  free(copy);
  free(got);
  free(want);
}

/* Dimensions of 2^32 and coordinates at both ends of 32 bits. */
static void
far_away(void **state)
{
  Case c = good();
  CUtensorMap map;
  TmaMap m;
  TmaRow row;
  char why[200];
  (void)state;
  c.a.rank = 2;
  c.a.swizzle = 0;
  c.dims[0] = c.dims[1] = (uint64_t)1 << 32;
  c.strides[0] = ((uint64_t)1 << 40) - 16;
  c.box[0] = 16;
  c.box[1] = 1;
  assert_int_equal(encode(&c, &map, why, sizeof why), CUDA_SUCCESS);
  assert_true(tma_decode(&m, &map));
  TmaWalk w = tma_walk(&m, (int32_t[]){INT32_MAX, INT32_MAX});
  assert_true(tma_next(&w, &row));
  assert_int_equal(row.bytes, 32);
  assert_int_equal(row.global, c.a.address + 2 * (uint64_t)INT32_MAX +
                                   (uint64_t)INT32_MAX * c.strides[0]);
  assert_false(tma_next(&w, &row));
  w = tma_walk(&m, (int32_t[]){INT32_MIN, 0});
  assert_true(tma_next(&w, &row));
  assert_int_equal(row.bytes, 0);
  w = tma_walk(&m, (int32_t[]){-15, 0});
  assert_true(tma_next(&w, &row));
  assert_int_equal(row.bytes, 2);
  assert_int_equal(row.before, 30);
  assert_int_equal(row.global, c.a.address);
}

/* A replaced field is what another map has that was made with it. */
static void
replaced(void **state)
{
  static const struct {
    TmaField field;
    uint32_t ordinal;
    uint64_t value;
  } rows[] = {{TMA_ADDRESS, 0, 0x612345678900},
              {TMA_RANK_LESS_1, 0, 2},
              {TMA_BOX, 1, 7},
              {TMA_DIM, 2, 2},
              {TMA_DIM, 0, 0xffffffff},
              {TMA_STRIDE, 1, 25600},
              {TMA_STEP, 1, 3},
              {TMA_TYPE, 0, 6},
              {TMA_SWIZZLE, 0, 0},
              {TMA_FILL, 0, 1}};
  (void)state;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    Case a = good(), b = good();
    CUtensorMap from, to;
    TmaMap got, want;
    char why[200];
    uint32_t o = rows[k].ordinal;
    uint64_t v = rows[k].value;
    switch (rows[k].field) {
    case TMA_ADDRESS:
      b.a.address = v;
      break;
    case TMA_RANK_LESS_1:
      b.a.rank = (uint32_t)v + 1;
      break;
    case TMA_BOX:
      b.box[o] = (uint32_t)v;
      break;
    case TMA_DIM:
      b.dims[o] = v;
      break;
    case TMA_STRIDE:
      b.strides[o] = v;
      break;
    case TMA_STEP:
      b.steps[o] = (uint32_t)v;
      break;
    case TMA_TYPE:
      b.a.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
      break;
    case TMA_SWIZZLE:
      b.a.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
      break;
    default:
      b.a.fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA;
      break;
    }
    assert_int_equal(encode(&a, &from, why, sizeof why), CUDA_SUCCESS);
    assert_int_equal(encode(&b, &to, why, sizeof why), CUDA_SUCCESS);
    assert_true(tma_replace(&from, rows[k].field, o, v));
    memset(&got, 0, sizeof got);
    memset(&want, 0, sizeof want);
    assert_true(tma_decode(&got, &from));
    assert_true(tma_decode(&want, &to));
    if (rows[k].field == TMA_RANK_LESS_1) /* what is behind the rank is not looked at */
      got.stride[3] = want.stride[3], got.dim[3] = want.dim[3];
    assert_memory_equal(&got, &want, sizeof got);
  }
}

/* What no map may have is kept until somebody reads it. */
static void
replaced_wrongly(void **state)
{
  static const struct {
    TmaField field;
    uint32_t ordinal;
    uint64_t value;
    const char *part;
  } rows[] = {{TMA_ADDRESS, 0, 8, "is no multiple of 16"},
              {TMA_RANK_LESS_1, 0, 7, "a rank of 8"},
              {TMA_BOX, 0, 1000, "1000 elements along dimension 0"},
              {TMA_DIM, 1, 0, "a dimension of no elements"},
              {TMA_STRIDE, 0, 24, "is no multiple of 16"},
              {TMA_STEP, 2, 9, "is 9, not 1 to 8"},
              {TMA_TYPE, 0, 12, "more than the swizzle's"},
              {TMA_TYPE, 0, 15, "is no element type"},
              {TMA_INTERLEAVE, 0, 1, "are not emulated"},
              {TMA_SWIZZLE, 0, 2, "more than the swizzle's"}};
  (void)state;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    Case a = good();
    CUtensorMap map;
    TmaMap m;
    char why[200];
    assert_int_equal(encode(&a, &map, why, sizeof why), CUDA_SUCCESS);
    assert_false(tma_is_wrong(&map, why, sizeof why));
    assert_true(tma_replace(&map, rows[k].field, rows[k].ordinal, rows[k].value));
    assert_false(tma_decode(&m, &map));
    assert_true(tma_is_wrong(&map, why, sizeof why));
    if (!strstr(why, rows[k].part))
      fail_msg("no '%s' in '%s'", rows[k].part, why);
    ((uint8_t *)&map)[40] ^= 1;
    assert_false(tma_replace(&map, TMA_ADDRESS, 0, 0));
    assert_false(tma_is_wrong(&map, why, sizeof why));
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(checks),   cmocka_unit_test(not_emulated),
      cmocka_unit_test(missing),  cmocka_unit_test(round_trip),
      cmocka_unit_test(boxes),    cmocka_unit_test(far_away),
      cmocka_unit_test(replaced), cmocka_unit_test(replaced_wrongly),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
