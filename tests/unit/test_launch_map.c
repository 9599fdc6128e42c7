/* Tensor maps, clusters and programmatic serialization, from a recipe by hand to what the
 * driver is given. */
#include "tests/unit/stub.h"

#include "runtime/launch.h"

static const Driver *drv;

static int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub.stub_cc(0, 90);
  stub_use(0);
  return drv_open(STUB_LIBCUDA, &drv, NULL) != ATTNC_OK;
}

static int
teardown(void **state)
{
  (void)state;
  drv_close(drv);
  stub.cuCtxSetCurrent(NULL);
  return stub.stub_modules() != 0 || stub.stub_primaries(0) != 0;
}

/* ---- recipes ---- */

#define MAP_PTX ".param .align 64 .b8 map[128]"
#define Q_DIMS                                                                             \
  "[{\"n\":128},{\"size\":\"sq\",\"stride\":2},{\"size\":\"h\",\"stride\":1},"             \
  "{\"size\":\"b\",\"stride\":0}]"
#define K_DIMS                                                                             \
  "[{\"n\":128},{\"size\":\"sk\",\"stride\":2},{\"size\":\"hk\",\"stride\":1},"            \
  "{\"size\":\"b\",\"stride\":0}]"
#define SLIDE_OF(n)                                                                        \
  "[{\"n\":128},{\"size\":\"sk\",\"stride\":2,\"slide\":" n "},"                           \
  "{\"size\":\"hk\",\"stride\":1},{\"size\":\"b\",\"stride\":0}]"
#define SLIDE_DIMS SLIDE_OF("96")
#define PACKED_DIMS                                                                        \
  "[{\"n\":128},{\"n\":4,\"stride\":1},{\"size\":\"sq\",\"stride\":2},"                    \
  "{\"size\":\"hk\",\"stride\":1,\"times\":4},{\"size\":\"b\",\"stride\":0}]"
#define MAP(slot, dims, box, swizzle, l2)                                                  \
  "{\"type\":\"map\",\"tensor\":" #slot ",\"dims\":" dims ",\"box\":" box                  \
  ",\"swizzle\":" #swizzle ",\"l2\":" #l2 "}"
#define MAP_FIT(dims, box, size)                                                           \
  "{\"type\":\"map\",\"tensor\":1,\"dims\":" dims ",\"box\":" box                          \
  ",\"swizzle\":128,\"l2\":128,\"fit\":\"" size "\"}"
#define Q_MAP MAP(0, Q_DIMS, "[64,128,1,1]", 128, 256)
#define K_MAP MAP(1, K_DIMS, "[64,96,1,1]", 128, 128)
#define TENSORS_OF(k)                                                                      \
  "[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "},"          \
  "{\"name\":\"k\",\"slot\":1,\"dtype\":\"" k "\",\"access\":\"in\"" RT_OF_k "},"          \
  "{\"name\":\"o\",\"slot\":3,\"dtype\":\"bf16\",\"access\":\"out\"" RT_OF_o "},"          \
  "{\"name\":\"lse\",\"slot\":4,\"dtype\":\"fp32\",\"access\":\"out\"" RT_OF_lse "}]"
#define RECIPE_OF(tensors, requires, steps)                                                \
  RT_RECIPE_OF("sm_90a", "true", tensors, RT_SCALARS, requires, "0", steps)
#define RECIPE(params)                                                                     \
  RECIPE_OF(TENSORS_OF("fp16"), RT_REQUIRES, RT_STEPS("[" params "]", RT_GRID))

static attnc_plan *
load(const char *ptx, const char *json)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  PlanText text = {
      .ptx = ptx, .json = json, .json_n = strlen(json), .source = "model", .layer = "miss"};
  if (plan_load(drv, &drv->devices[0], &text, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

/* Q and K as maps, sq and O as they are. */
static attnc_plan *
load_maps(void)
{
  return load(
      RT_PTX_OF(MAP_PTX ", .param .u32 sq, .param .align 64 .b8 k[128], .param .u64 o"),
      RECIPE(Q_MAP ",{\"type\":\"i32\",\"size\":\"sq\"}," K_MAP
                   ",{\"type\":\"ptr\",\"tensor\":3}"));
}

/* b 2, h 8, hk 2, sq 300, sk 400, d 128, bshd. */
typedef struct Call {
  attnc_tensor t[5];
  attnc_sizes n;
  attnc_args a;
} Call;

static void
call_fill(Call *c)
{
  static _Alignas(256) char memory[256];
  *c = (Call){.n = {.size = sizeof c->n, .b = 2, .h = 8, .hk = 2, .sq = 300, .sk = 400},
              .a = {.size = sizeof c->a,
                    .sizes = &c->n,
                    .tensor_size = sizeof *c->t,
                    .n_tensors = 5}};
  for (int i = 0; i < 5; i++)
    c->t[i] = (attnc_tensor){memory + 16 * i, {300 * 1024, 128, 1024, 1, 0}};
  c->t[1] = (attnc_tensor){memory + 16, {400 * 256, 128, 256, 1, 0}};
  c->a.tensors = c->t;
}

static attnc_launch_state *
state_new(const attnc_plan *p)
{
  size_t n = attnc_plan_state_bytes(p);
  assert_int_equal(n % 64, 0);
  attnc_launch_state *s = aligned_alloc(64, n);
  memset(s, 0, n);
  return s;
}

static int
encodes(void)
{
  return stub.stub_calls("cuTensorMapEncodeTiled");
}

/* ---- what is encoded ---- */

static void
test_map_of_a_tensor(void **state)
{
  Call c;
  (void)state;
  call_fill(&c);
  attnc_plan *p = load_maps();
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  StubLaunch l = stub.stub_launch_at(0);
  assert_int_equal(l.n_params, 4);
  assert_int_equal(l.sizes[0], 128);
  assert_int_equal(l.misaligned, 0);
  assert_int_equal(l.values[1], 300);
  assert_int_equal(l.values[3], (uintptr_t)c.t[3].data);
  static const unsigned long long q_dims[] = {128, 300, 8, 2}, k_dims[] = {128, 400, 2, 2},
                                  q_strides[] = {2048, 256, 614400},
                                  k_strides[] = {512, 256, 204800};
  const StubMap *q = &l.maps[0], *k = &l.maps[1];
  assert_int_equal(q->address, (uintptr_t)c.t[0].data);
  assert_int_equal(q->rank, 4);
  assert_int_equal(q->type, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
  assert_memory_equal(q->dims, q_dims, sizeof q_dims);
  assert_memory_equal(q->strides, q_strides, sizeof q_strides);
  assert_int_equal(q->box[0], 64);
  assert_int_equal(q->box[1], 128);
  assert_int_equal(q->swizzle, CU_TENSOR_MAP_SWIZZLE_128B);
  assert_int_equal(q->l2, CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
  assert_int_equal(q->interleave, CU_TENSOR_MAP_INTERLEAVE_NONE);
  assert_int_equal(q->fill, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  assert_int_equal(k->type, CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
  assert_int_equal(k->address, (uintptr_t)c.t[1].data);
  assert_memory_equal(k->dims, k_dims, sizeof k_dims);
  assert_memory_equal(k->strides, k_strides, sizeof k_strides);
  assert_int_equal(k->l2, CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
  attnc_plan_release(p);
}

/* Rows that a box slides over are two dimensions, and the map begins a box before them. */
static void
test_slide(void **state)
{
  static const unsigned long long dims[] = {128, 96, 496, 2, 2},
                                  strides[] = {512, 512, 256, 204800},
                                  one[] = {128, 96, 97}, any[] = {256, 256};
  const char *recipe = RECIPE(MAP(1, SLIDE_DIMS, "[64,96,1,1,1]", 128, 128));
  attnc_error e = {0};
  Call c;
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_PTX_OF(MAP_PTX), recipe);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  StubMap m = stub.stub_launch_at(0).maps[0];
  assert_int_equal(m.rank, 5);
  assert_int_equal(m.address, (uintptr_t)c.t[1].data - 96 * 512);
  assert_memory_equal(m.dims, dims, sizeof dims);
  assert_memory_equal(m.strides, strides, sizeof strides);
  assert_int_equal(m.box[1], 96);
  assert_int_equal(m.box[2], 1);
  c.n.sk = 1; /* at any stride, and both dimensions at the same one */
  c.t[1].stride[2] = -8;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  m = stub.stub_launch_at(1).maps[0];
  assert_memory_equal(m.dims, one, sizeof one);
  assert_memory_equal(m.strides, any, sizeof any);
  assert_int_equal(m.address, (uintptr_t)c.t[1].data - 96 * 256);
  c.n.sk = 0; /* all of it before the memory of another */
  c.t[1].data = NULL;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_memory_equal(stub.stub_launch_at(2).maps[0].strides, any, sizeof any);
  call_fill(&c);
  c.t[1].data = (void *)4096;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(
      strstr(e.message, "k: stride[2] of 512 bytes leads from 0x1000 to below"));
  attnc_plan_release(p);
}

/* Boxes, and what they slide over, of the largest power of 2 that divides a size. */
static void
test_fit(void **state)
{
  static const int64_t sk[] = {400, 48, 7, 64, 640, 0};
  static const unsigned boxes[] = {16, 16, 1, 64, 64, 64};
  const char *slides = RECIPE(MAP_FIT(SLIDE_OF("64"), "[64,64,1,1,1]", "sk"));
  const char *plain = RECIPE(MAP_FIT(K_DIMS, "[64,64,1,1]", "sk"));
  (void)state;
  for (int i = 0; i < 6; i++) {
    const unsigned n = boxes[i];
    int before = stub.stub_launches();
    Call c;
    call_fill(&c);
    c.n.sk = sk[i];
    attnc_plan *p = load(RT_PTX_OF(MAP_PTX), slides), *q = load(RT_PTX_OF(MAP_PTX), plain);
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
    assert_int_equal(attnc_launch(q, &c.a, NULL, NULL, NULL), ATTNC_OK);
    StubMap m = stub.stub_launch_at(before).maps[0];
    assert_int_equal(m.dims[1], n);
    assert_int_equal(m.dims[2], (sk[i] ? sk[i] : 1) + n);
    assert_int_equal(m.address, (uintptr_t)c.t[1].data - n * (sk[i] ? 512 : 256));
    assert_int_equal(m.box[1], n);
    assert_int_equal(m.box[2], 1);
    m = stub.stub_launch_at(before + 1).maps[0];
    assert_int_equal(m.dims[1], sk[i] ? sk[i] : 1);
    assert_int_equal(m.box[0], 64);
    assert_int_equal(m.box[1], n);
    attnc_plan_release(p);
    attnc_plan_release(q);
  }
}

static StubMap
map_of(const char *tensors, const char *map)
{
  char json[4096], params[1024];
  Call c;
  snprintf(params, sizeof params, "[%s]", map);
  snprintf(json, sizeof json,
           RT_RECIPE_OF("sm_90a", "true", "%s", RT_SCALARS, RT_REQUIRES, "0",
                        RT_STEPS("%s", RT_GRID)),
           tensors, params);
  call_fill(&c);
  int before = stub.stub_launches();
  attnc_plan *p = load(RT_PTX_OF(MAP_PTX), json);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  attnc_plan_release(p);
  return stub.stub_launch_at(before).maps[0];
}

static void
test_kinds_of_maps(void **state)
{
  static const unsigned long long dims[] = {128, 4, 300, 2, 2},
                                  strides[] = {256, 2048, 1024, 614400};
  static const struct {
    const char *dtype;
    int type;
  } types[] = {{"fp16", CU_TENSOR_MAP_DATA_TYPE_FLOAT16},
               {"bf16", CU_TENSOR_MAP_DATA_TYPE_BFLOAT16},
               {"fp32", CU_TENSOR_MAP_DATA_TYPE_FLOAT32},
               {"e4m3", CU_TENSOR_MAP_DATA_TYPE_UINT8},
               {"e5m2", CU_TENSOR_MAP_DATA_TYPE_UINT8}};
  (void)state;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char tensors[512];
    snprintf(tensors, sizeof tensors, TENSORS_OF("%s"), types[i].dtype);
    StubMap m = map_of(tensors, MAP(1, K_DIMS, "[16,8,1,1]", 64, 64));
    assert_int_equal(m.type, types[i].type);
    assert_int_equal(m.swizzle, CU_TENSOR_MAP_SWIZZLE_64B);
    assert_int_equal(m.l2, CU_TENSOR_MAP_L2_PROMOTION_L2_64B);
  }
  /* Rows packed from the four heads of a group. */
  StubMap m = map_of(TENSORS_OF("bf16"), MAP(0, PACKED_DIMS, "[16,4,16,1,1]", 32, 0));
  assert_int_equal(m.rank, 5);
  assert_memory_equal(m.dims, dims, sizeof dims);
  assert_memory_equal(m.strides, strides, sizeof strides);
  assert_int_equal(m.swizzle, CU_TENSOR_MAP_SWIZZLE_32B);
  assert_int_equal(m.l2, CU_TENSOR_MAP_L2_PROMOTION_NONE);
  m = map_of(TENSORS_OF("bf16"), MAP(0, "[{\"size\":\"sq\"}]", "[256]", 0, 0));
  assert_int_equal(m.rank, 1);
  assert_int_equal(m.dims[0], 300);
  assert_int_equal(m.swizzle, CU_TENSOR_MAP_SWIZZLE_NONE);
}

/* ---- sizes and strides at the edge ---- */

static void
test_no_keys(void **state)
{
  Call c;
  (void)state;
  attnc_plan *p = load_maps();
  call_fill(&c);
  c.n.sk = 0;
  c.t[1] = (attnc_tensor){0}; /* no memory, no strides */
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  StubMap k = stub.stub_launch_at(0).maps[1];
  assert_int_equal(k.address, (uintptr_t)c.t[0].data);
  assert_int_equal(k.dims[1], 1);
  assert_int_equal(k.dims[2], 2);
  assert_int_equal(k.strides[0], 256);
  assert_int_equal(k.strides[2], 256);
  call_fill(&c);
  c.n.sk = 0; /* memory of its own is kept */
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_launch_at(1).maps[1].address, (uintptr_t)c.t[1].data);
  attnc_plan_release(p);
}

/* A dimension of one element: any stride that a call may have at all. */
static void
test_one_element(void **state)
{
  static const int64_t any[] = {0, -1024, (int64_t)1 << 50};
  Call c;
  (void)state;
  attnc_plan *p = load_maps();
  for (size_t i = 0; i < sizeof any / sizeof *any; i++) {
    call_fill(&c);
    c.n.b = 1;
    c.t[0].stride[0] = any[i];
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
    StubMap q = stub.stub_launch_at((int)i).maps[0];
    assert_int_equal(q.dims[3], 1);
    assert_int_equal(q.strides[2], 256);
  }
  attnc_plan_release(p);
}

typedef struct Fault {
  int64_t b_stride, s_stride;
  attnc_status status;
  const char *says;
} Fault;

static const Fault faults[] = {
    {-1024, 1024, ATTNC_ERR_SHAPE,
     "q: stride[0] is -1024; a tensor map takes none below 0"},
    {307200, -8, ATTNC_ERR_SHAPE, "q: stride[2] is -8"},
    {307200, 1028, ATTNC_ERR_ALIGN,
     "q: stride[2] of 1028 elements is not a multiple of 16"},
    {(int64_t)1 << 39, 1024, ATTNC_ERR_SHAPE,
     "q: stride[0] of 549755813888 elements is 2^40"},
    {INT64_MAX / 8 * 8, 1024, ATTNC_ERR_SHAPE, "q: stride[0] of"},
};

static void
test_strides_that_no_map_takes(void **state)
{
  (void)state;
  attnc_plan *p = load_maps();
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    Call c;
    attnc_error e = {0};
    call_fill(&c);
    c.t[0].stride[0] = faults[i].b_stride;
    c.t[0].stride[2] = faults[i].s_stride;
    attnc_status status = attnc_launch(p, &c.a, NULL, NULL, &e);
    if (status != faults[i].status || !strstr(e.message, faults[i].says))
      fail_msg("%zu: %s: %s", i, attnc_status_name(status), e.message);
  }
  assert_int_equal(stub.stub_launches(), 0);
  assert_int_equal(encodes(), 0);
  attnc_plan_release(p);
}

static void
test_a_large_size(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load(RT_PTX_OF(MAP_PTX), RECIPE(K_MAP));
  call_fill(&c);
  c.n.sk = (int64_t)1 << 32;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  c.n.sk++;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "k: sk is 4294967297, more than the 2^32"));
  attnc_plan_release(p);
}

/* A broadcast batch: the driver's word counts. */
static void
test_stride_of_zero(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load_maps();
  call_fill(&c);
  c.t[1].stride[0] = 0;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_launch_at(0).maps[1].strides[2], 0);
  assert_int_equal(stub.stub_launch_at(0).maps[1].dims[3], 2);
  stub.stub_fail("cuTensorMapEncodeTiled", 2, CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_int_equal(e.driver_code, CUDA_ERROR_INVALID_VALUE);
  assert_non_null(strstr(e.message, "k: stride[0] is 0, and cuTensorMapEncodeTiled of"));
  call_fill(&c);
  stub.stub_fail("cuTensorMapEncodeTiled", 2, CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_DEVICE);
  assert_string_equal(e.message,
                      "cuTensorMapEncodeTiled: CUDA_ERROR_INVALID_VALUE: tensor map of k: "
                      "dimensions 128 400 2 2, strides in bytes 512 256 204800");
  attnc_plan_release(p);
}

/* ---- launch states ---- */

static void
test_a_state_encodes_what_changed(void **state)
{
  Call c;
  (void)state;
  attnc_plan *p = load_maps();
  attnc_launch_state *s = state_new(p);
  call_fill(&c);
  for (int i = 0; i < 3; i++)
    assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 2);
  c.t[3].data = (char *)c.t[3].data + 16; /* O has no map */
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 2);
  c.t[1].data = (char *)c.t[1].data + 16;
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 3);
  c.n.sq = 299;
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 4);
  StubLaunch last = stub.stub_launch_at(5);
  assert_int_equal(last.maps[0].dims[1], 299);
  assert_int_equal(last.maps[1].address, (uintptr_t)c.t[1].data);
  assert_int_equal(last.misaligned, 0);
  for (int i = 0; i < 2; i++)
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 8); /* without a state, each time */
  free(s);
  attnc_plan_release(p);
}

static void
test_a_state_between_plans(void **state)
{
  Call c;
  (void)state;
  attnc_plan *p = load(RT_PTX_OF(MAP_PTX), RECIPE(Q_MAP));
  attnc_plan *q = load(RT_PTX_OF(MAP_PTX), RECIPE(MAP(0, Q_DIMS, "[32,64,1,1]", 64, 0)));
  attnc_launch_state *s = state_new(p);
  call_fill(&c);
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(attnc_launch(q, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 3);
  assert_int_equal(stub.stub_launch_at(1).maps[0].box[0], 32);
  assert_int_equal(stub.stub_launch_at(2).maps[0].box[0], 64);
  free(s);
  attnc_plan_release(p);
  attnc_plan_release(q);
}

/* A map whose encoding failed is not there at the next call. */
static void
test_a_state_after_a_failure(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load_maps();
  attnc_launch_state *s = state_new(p);
  call_fill(&c);
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  c.t[1].data = (char *)c.t[1].data + 16;
  stub.stub_fail("cuTensorMapEncodeTiled", 1, CUDA_ERROR_UNKNOWN);
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, &e), ATTNC_ERR_DEVICE);
  c.t[1].data = (char *)c.t[1].data - 16; /* as it was before */
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(encodes(), 4);
  assert_int_equal(stub.stub_launch_at(1).maps[1].address, (uintptr_t)c.t[1].data);
  free(s);
  attnc_plan_release(p);
}

static void
test_an_unaligned_state(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load_maps();
  attnc_launch_state *s = state_new(p);
  call_fill(&c);
  assert_int_equal(attnc_launch(p, &c.a, NULL, (void *)((char *)s + 16), &e),
                   ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "64-byte aligned"));
  free(s);
  attnc_plan_release(p);
}

/* ---- clusters ---- */

#define CLUSTER_STEPS(grid, more)                                                          \
  "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[{\"type\":\"ptr\",\"tensor\":0}],"    \
  "\"grid\":" grid ",\"block\":[384,1,1]," more "\"shared\":1024}}]"

static StubLaunch
launch_of(const char *grid, const char *more)
{
  char json[4096];
  Call c;
  attnc_error e = {0};
  snprintf(json, sizeof json,
           RECIPE_OF(TENSORS_OF("bf16"), RT_REQUIRES, CLUSTER_STEPS("%s", "%s")), grid,
           more);
  call_fill(&c);
  int before = stub.stub_launches();
  attnc_plan *p = load(RT_PTX_OF(".param .u64 q"), json);
  if (attnc_launch(p, &c.a, (void *)0x40, NULL, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  attnc_plan_release(p);
  return stub.stub_launch_at(before);
}

static void
test_clusters(void **state)
{
  (void)state;
  StubLaunch l = launch_of("[{\"mul\":[{\"ceil_div\":[\"sq\",256]},2]},{\"size\":\"h\"},1]",
                           "\"cluster\":[2,1,1],");
  assert_true(l.extended && !l.serialized);
  assert_int_equal(l.cluster[0], 2);
  assert_int_equal(l.cluster[1], 1);
  assert_int_equal(l.grid[0], 4);
  assert_int_equal(l.grid[1], 8);
  assert_int_equal(l.block[0], 384);
  assert_int_equal(l.shared, 1024);
  assert_ptr_equal(l.stream, (void *)0x40);
  assert_int_equal(l.n_params, 1);
  l = launch_of("[{\"sms\":1},1,1]", "\"serialization\":true,");
  assert_true(l.extended && l.serialized);
  assert_int_equal(l.cluster[0], 0);
  assert_int_equal(l.grid[0], 108);
  l = launch_of("[{\"min\":[1000,{\"sms\":5}]},2,1]",
                "\"cluster\":[5,1,1],\"serialization\":true,");
  assert_true(l.extended && l.serialized);
  assert_int_equal(l.cluster[0], 5);
  assert_int_equal(l.grid[0], 105);
  l = launch_of("[1,1,1]", "\"cluster\":[1,1,1],\"serialization\":false,");
  assert_false(l.extended);
}

static void
test_grids_that_no_cluster_divides(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_PTX_OF(".param .u64 q"),
                       RECIPE_OF(TENSORS_OF("bf16"), RT_REQUIRES,
                                 CLUSTER_STEPS("[{\"ceil_div\":[\"sq\",128]},1,1]",
                                               "\"cluster\":[2,1,1],")));
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_INTERNAL);
  assert_string_equal(e.message, "by_hand: a grid of 3, 1, 1 does not divide into clusters "
                                 "of 2, 1, 1");
  stub.stub_fail("cuLaunchKernelEx", 1, CUDA_ERROR_INVALID_VALUE);
  c.n.sq = 200;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_DEVICE);
  assert_non_null(strstr(e.message, "cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE"));
  attnc_plan_release(p);
}

/* ---- drivers that are too old, recipes that are wrong ---- */

static void
too_old(const char *json, const char *says)
{
  const Driver *old = NULL;
  attnc_error e = {0};
  Recipe *r;
  assert_int_equal(drv_open(STUB_OLD, &old, NULL), ATTNC_OK);
  Device device = old->devices[0];
  device.cc = 90;
  assert_int_equal(recipe_parse(json, strlen(json), &r, &e), ATTNC_OK);
  attnc_status status = plan_fits(r, &(PlanImages){.ptx = true}, old, &device, &e);
  if (status != (says ? ATTNC_ERR_UNSUPPORTED : ATTNC_OK) ||
      (says && !strstr(e.message, says)))
    fail_msg("%s: %s", attnc_status_name(status), e.message);
  recipe_free(r);
  drv_close(old);
}

static void
test_old_drivers(void **state)
{
  (void)state;
  too_old(RECIPE(Q_MAP), "by_hand needs cuTensorMapEncodeTiled, which " STUB_OLD);
  too_old(RECIPE_OF(TENSORS_OF("bf16"), RT_REQUIRES,
                    CLUSTER_STEPS("[2,1,1]", "\"cluster\":[2,1,1],")),
          "by_hand needs cuLaunchKernelEx, which " STUB_OLD);
  too_old(RECIPE("{\"type\":\"ptr\",\"tensor\":0}"), NULL);
}

#define DIMS2(second) "[{\"n\":128}," second "]"
#define MAP2(second)  MAP(0, DIMS2(second), "[64,1]", 128, 0)
static const struct {
  const char *json, *says;
} refused[] = {
    {RECIPE("{\"type\":\"map\"}"), "params[0]: 'tensor': expected an integer"},
    {RECIPE(MAP(2, Q_DIMS, "[64,1,1,1]", 0, 0)), "no tensor in slot 2"},
    {RECIPE(MAP(4, Q_DIMS, "[64,1,1,1]", 0, 0)), "a contiguous tensor has no tensor map"},
    {RECIPE("{\"type\":\"map\",\"tensor\":0,\"rank\":3}"), "unknown key 'rank'"},
    {RECIPE(MAP(0, Q_DIMS, "[64,1,1,1]", 16, 0)),
     "'swizzle': 16 is not one of 0, 32, 64, 128"},
    {RECIPE(MAP(0, Q_DIMS, "[64,1,1,1]", 128, 32)),
     "'l2': 32 is not one of 0, 64, 128, 256"},
    {RECIPE(MAP(0, "[]", "[]", 0, 0)), "'dims': expected a list of 1 to 5"},
    {RECIPE(MAP(0, Q_DIMS, "[64,1]", 0, 0)), "'box': expected a list of 4 to 4"},
    {RECIPE(MAP(0, Q_DIMS, "[64,257,1,1]", 0, 0)), "'box': 257 is not in 1 to 256"},
    {RECIPE(MAP(0, Q_DIMS, "[4,1,1,1]", 0, 0)), "a row of 8 bytes is not a multiple of 16"},
    {RECIPE(MAP(0, Q_DIMS, "[128,1,1,1]", 128, 0)),
     "a row of 256 bytes is more than the swizzle's"},
    {RECIPE(MAP(0, "[{\"n\":8,\"stride\":2}]", "[8]", 0, 0)),
     "params[0].dims[0]: the innermost dimension has no stride"},
    {RECIPE(MAP2("{\"n\":2,\"size\":\"b\",\"stride\":0}")),
     "dims[1]: a dimension has either"},
    {RECIPE(MAP2("{\"stride\":0}")), "dims[1]: a dimension has either"},
    {RECIPE(MAP2("{\"size\":\"sk\",\"stride\":2,\"slide\":0}")), "'slide': 0 is not in 1"},
    {RECIPE(MAP2("{\"size\":\"sk\",\"stride\":2,\"slide\":257}")), "'slide': 257 is not"},
    {RECIPE(MAP2("{\"size\":\"sk\",\"stride\":2,\"slide\":8},{\"n\":1,\"stride\":1},"
                 "{\"n\":1,\"stride\":0,\"slide\":8}")),
     "'slide': more than 5 dimensions"},
    {RECIPE(MAP(0, "[{\"n\":64,\"slide\":8}]", "[64,8]", 0, 0)),
     "the innermost dimension has no stride"},
    {RECIPE(MAP_FIT(K_DIMS, "[64,64,1,1]", "d")), "expected a size"},
    {RECIPE(MAP_FIT(K_DIMS, "[64,64,1,1]", "sq")), "'fit': it is no dimension's size"},
    {RECIPE(MAP_FIT(K_DIMS, "[64,96,1,1]", "sk")), "'fit': a box of 96 is no power of 2"},
    {RECIPE(MAP_FIT(SLIDE_DIMS, "[64,96,1,1,1]", "sk")),
     "'fit': 'slide' of 96 is no power of 2"},
    {RECIPE(MAP2("{\"size\":\"d\",\"stride\":0}")), "dims[1]: expected a size"},
    {RECIPE(MAP2("{\"n\":0,\"stride\":0}")), "'n': 0 is not in 1"},
    {RECIPE(MAP2("{\"size\":\"b\"}")), "'stride': expected an integer"},
    {RECIPE(MAP2("{\"size\":\"b\",\"stride\":3}")), "'stride': 3 is not in 0 to 2"},
    {RECIPE(MAP2("{\"size\":\"b\",\"stride\":0,\"times\":0}")), "'times': 0 is not in 1"},
    {RECIPE(MAP2("{\"size\":\"b\",\"stride\":0,\"step\":1}")), "unknown key 'step'"},
    {RECIPE_OF("[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\","
               "\"axes\":[\"b\",\"h\",\"sq\",64],\"contiguous\":false,\"align\":8}]",
               "{\"align\":16}", RT_STEPS("[" Q_MAP "]", RT_GRID)),
     "a tensor map requires 'align' of 16"},
    {RT_RECIPE_OF("sm_80", "false", TENSORS_OF("bf16"), RT_SCALARS, RT_REQUIRES, "0",
                  RT_STEPS("[" Q_MAP "]", RT_GRID)),
     "sm_80 has no tensor maps"},
};

static void
test_recipes_that_are_refused(void **state)
{
  char json[8192] = "", params[4096] = "[" Q_MAP;
  attnc_error e = {0};
  Recipe *r = NULL;
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    attnc_status status = recipe_parse(refused[i].json, strlen(refused[i].json), &r, &e);
    if (status != ATTNC_ERR_IO || !strstr(e.message, refused[i].says))
      fail_msg("%s: '%s' does not say '%s'", attnc_status_name(status), e.message,
               refused[i].says);
  }
  for (int i = 0; i < RECIPE_MAPS; i++)
    strcat(params, "," Q_MAP);
  snprintf(json, sizeof json,
           RECIPE_OF(TENSORS_OF("bf16"), RT_REQUIRES, RT_STEPS("%s]", RT_GRID)), params);
  assert_int_equal(recipe_parse(json, strlen(json), &r, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "params[16]: more than 16 tensor maps"));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(test_map_of_a_tensor),
      TEST(test_slide),
      TEST(test_fit),
      TEST(test_kinds_of_maps),
      TEST(test_no_keys),
      TEST(test_one_element),
      TEST(test_strides_that_no_map_takes),
      TEST(test_a_large_size),
      TEST(test_stride_of_zero),
      TEST(test_a_state_encodes_what_changed),
      TEST(test_a_state_between_plans),
      TEST(test_a_state_after_a_failure),
      TEST(test_an_unaligned_state),
      TEST(test_clusters),
      TEST(test_grids_that_no_cluster_divides),
      TEST(test_old_drivers),
      TEST(test_recipes_that_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
