#include "tests/unit/stub.h"

#include "runtime/launch.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <time.h>

static const Driver *drv;

static int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub_use(0);
  return drv_open(STUB_LIBCUDA, &drv, NULL) != ATTNC_OK;
}

static int
teardown(void **state)
{
  (void)state;
  drv_close(drv);
  stub.cuCtxSetCurrent(NULL);
  /* Every test gives back what it loaded. */
  return stub.stub_modules() != 0 || stub.stub_primaries(0) != 0;
}

static attnc_status
try_load_ptx(const char *ptx, const char *json, int device, attnc_plan **p, attnc_error *e)
{
  PlanText text = {.ptx = ptx,
                   .json = json,
                   .json_n = strlen(json),
                   .source = "model",
                   .layer = "miss",
                   .lookup = 1e-4,
                   .compile = 0.1};
  return plan_load(drv, &drv->devices[device], &text, p, e);
}

static attnc_status
try_load(const char *json, int device, attnc_plan **p, attnc_error *e)
{
  return try_load_ptx(RT_PTX, json, device, p, e);
}

static attnc_plan *
load_ptx(const char *ptx, const char *json)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  if (try_load_ptx(ptx, json, 0, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

static attnc_plan *
load(const char *json)
{
  return load_ptx(RT_PTX, json);
}

/* A legal call: b 2, h 8, hk 2, sq 300, sk 400, d 64, bshd. */
typedef struct Call {
  attnc_tensor t[5];
  double scalars[1];
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
    c->t[i] = (attnc_tensor){memory + 16 * i, {300 * 8 * 64, 64, 8 * 64, 1, 0}};
  c->a.tensors = c->t;
}

static void
test_packing(void **state)
{
  Call c;
  (void)state;
  call_fill(&c);
  c.t[0].stride[2] = -512;
  attnc_plan *p = load(RT_RECIPE);
  assert_int_equal(attnc_launch(p, &c.a, (void *)0x40, NULL, NULL), ATTNC_OK);
  StubLaunch l = stub.stub_launch_at(0);
  assert_int_equal(stub.stub_launches(), 1);
  assert_string_equal(l.entry, "attnc_fwd");
  assert_ptr_equal(l.stream, (void *)0x40);
  assert_int_equal(l.grid[0], 3);
  assert_int_equal(l.grid[1], 8);
  assert_int_equal(l.grid[2], 2);
  assert_int_equal(l.block[0] * l.block[1] * l.block[2], 128);
  assert_int_equal(l.shared, 65536);
  assert_int_equal(l.n_params, 10);
  for (int i = 0; i < 5; i++)
    assert_int_equal(l.values[i], (uintptr_t)c.t[i].data);
  assert_int_equal((int64_t)l.values[5], -512);
  assert_int_equal(l.values[6], 2);
  assert_int_equal(l.values[7], 300);
  assert_int_equal(l.values[8], 400);
  float scale;
  memcpy(&scale, &l.values[9], 4);
  assert_true(scale == 0.125f);
  attnc_plan_release(p);
}

static float
scale_of(int launch)
{
  float scale;
  StubLaunch l = stub.stub_launch_at(launch);
  memcpy(&scale, &l.values[9], sizeof scale);
  return scale;
}

static void
test_scalars(void **state)
{
  Call c;
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_RECIPE);
  c.a.scalars = c.scalars;
  c.a.n_scalars = 1;
  c.scalars[0] = 0.5f;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_true(scale_of(0) == 0.5f);
  c.scalars[0] = NAN;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_true(scale_of(1) == 0.125f);
  attnc_plan_release(p);
}

/* One change to a legal call, and what comes of it. */
typedef struct Fault {
  const char *what;
  void (*apply)(Call *);
  attnc_status status;
  const char *says;
} Fault;

#define FAULT(name, code)                                                                  \
  static void name(Call *c)                                                                \
  {                                                                                        \
    code;                                                                                  \
  }
FAULT(no_size, c->a.size = 0)
FAULT(no_sizes_size, c->n.size = 0)
FAULT(no_tensors, c->a.tensors = NULL)
FAULT(no_scalars, c->a.n_scalars = 1)
FAULT(negative, c->n.sk = -1)
FAULT(ratio, c->n.hk = 3)
FAULT(no_heads, c->n.hk = 0)
FAULT(packed_queries, c->n.total_q = 300)
FAULT(packed_keys, c->n.total_k = 1)
FAULT(batches_of_a_cache, c->n.bc = 2)
FAULT(few_tensors, c->a.n_tensors = 4)
FAULT(null_tensor, c->t[1].data = NULL)
FAULT(odd_pointer, c->t[2].data = (char *)c->t[2].data + 8)
FAULT(odd_stride, c->t[3].stride[2] = 508)
FAULT(odd_negative_stride, c->t[3].stride[2] = -508)
FAULT(last_stride, c->t[0].stride[3] = 2)
FAULT(reserved_stride, c->t[0].stride[4] = 1)
FAULT(too_many_rows, c->n.b = 1; c->n.sq = (int64_t)1 << 33)
FAULT(too_many_batches, c->n.b = 65536)
static void
more_scalars(Call *c)
{
  static const double two[2] = {NAN, 1.0f};
  c->a.scalars = two;
  c->a.n_scalars = 2;
}

static const Fault faults[] = {
    {"args.size", no_size, ATTNC_ERR_USAGE, "size"},
    {"sizes.size", no_sizes_size, ATTNC_ERR_USAGE, "size"},
    {"tensors NULL", no_tensors, ATTNC_ERR_USAGE, "NULL"},
    {"scalars NULL", no_scalars, ATTNC_ERR_USAGE, "NULL"},
    {"negative size", negative, ATTNC_ERR_SHAPE, "sk is -1"},
    {"h % hk", ratio, ATTNC_ERR_SHAPE, "not a multiple of hk"},
    {"hk 0", no_heads, ATTNC_ERR_SHAPE, "not a multiple of hk"},
    {"total_q", packed_queries, ATTNC_ERR_SHAPE, "total_q is 300; it must be 0: no tensor"},
    {"total_k", packed_keys, ATTNC_ERR_SHAPE, "total_k is 1; it must be 0"},
    {"bc", batches_of_a_cache, ATTNC_ERR_SHAPE, "bc is 2; it must be 0"},
    {"missing tensor", few_tensors, ATTNC_ERR_USAGE, "lse"},
    {"NULL tensor", null_tensor, ATTNC_ERR_USAGE, "k (slot 1) is NULL"},
    {"pointer", odd_pointer, ATTNC_ERR_ALIGN, "v: the address"},
    {"stride", odd_stride, ATTNC_ERR_ALIGN, "o: stride[2]"},
    {"negative stride", odd_negative_stride, ATTNC_ERR_ALIGN, "o: stride[2]"},
    {"stride[3]", last_stride, ATTNC_ERR_SHAPE, "stride[3]"},
    {"stride[4]", reserved_stride, ATTNC_ERR_SHAPE, "stride[4]"},
    {"rows", too_many_rows, ATTNC_ERR_SHAPE, "32 bits"},
    {"batches", too_many_batches, ATTNC_ERR_SHAPE, "b 65536 blocks along z"},
    {"scalars", more_scalars, ATTNC_ERR_USAGE, "scalar 1"},
};

static void
test_faults(void **state)
{
  (void)state;
  attnc_plan *p = load(RT_RECIPE);
  attnc_launch_state *s = aligned_alloc(64, (attnc_plan_state_bytes(p) + 63) / 64 * 64);
  memset(s, 0, attnc_plan_state_bytes(p));
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    for (int with_state = 0; with_state < 2; with_state++) {
      Call c;
      attnc_error e = {0};
      call_fill(&c);
      attnc_launch_state *state_here = with_state ? s : NULL;
      assert_int_equal(attnc_launch(p, &c.a, NULL, state_here, NULL), ATTNC_OK);
      int before = stub.stub_launches();
      faults[i].apply(&c);
      attnc_status status = attnc_launch(p, &c.a, NULL, state_here, &e);
      if (status != faults[i].status || !strstr(e.message, faults[i].says))
        fail_msg("%s: %s: %s", faults[i].what, attnc_status_name(status), e.message);
      assert_int_equal(stub.stub_launches(), before);
    }
  assert_int_equal(attnc_launch(NULL, NULL, NULL, NULL, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_launch(p, NULL, NULL, NULL, NULL), ATTNC_ERR_USAGE);
  free(s);
  attnc_plan_release(p);
}

static void
test_nothing_to_do(void **state)
{
  Call c;
  (void)state;
  attnc_plan *p = load(RT_RECIPE);
  for (int i = 0; i < 3; i++) {
    call_fill(&c);
    int64_t *zero[] = {&c.n.b, &c.n.sq, &c.n.h};
    *zero[i] = 0;
    c.n.hk = i == 2 ? 0 : c.n.hk;
    for (int j = 0; j < 5; j++)
      c.t[j].data = NULL; /* an empty tensor may have no memory */
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  }
  assert_int_equal(stub.stub_launches(), 0);
  /* No keys is something to do: o is to become 0. */
  call_fill(&c);
  c.n.sk = 0;
  c.t[1].data = c.t[2].data = NULL;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_launches(), 1);
  attnc_plan_release(p);
}

static void
test_specialised(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load_ptx(
      RT_PTX_OF(".param .u64 q"),
      RT_RECIPE_OF(
          "sm_80", "false", RT_TENSORS,
          "[{\"name\":\"softmax_scale\",\"slot\":0,\"default\":0.25,\"positive\":true,"
          "\"constant\":true}]",
          "{\"align\":16,\"group_size\":4,\"sizes\":{\"sq\":300},"
          "\"strides\":{\"k\":[153600,64,512,1,0]}}",
          "0", RT_STEPS("[{\"type\":\"ptr\",\"tensor\":0}]", RT_GRID)));
  double scale = 0.25f;
  call_fill(&c);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  c.a.scalars = &scale;
  c.a.n_scalars = 1;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, NULL), ATTNC_OK);
  scale = 0.5f;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "softmax_scale is 0.5; this kernel is specialised"));
  call_fill(&c);
  c.n.sq = 299;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "sq is 299; this kernel is specialised for 300"));
  call_fill(&c);
  c.n.num_splits = 2;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "num_splits is 2; this kernel does not split keys so"));
  call_fill(&c);
  c.n.hk = 4;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "group_size"));
  call_fill(&c);
  c.t[1].stride[0] = 16;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "k: stride[0]"));
  attnc_plan_release(p);
}

/* ---- strides ---- */

/* An axis of length 1: whatever its stride is, the kernel is given 0 for it. */
static void
test_axes_of_length_one(void **state)
{
  static const int64_t odd[] = {449, -3, 0, INT64_MIN, INT64_MAX};
  static const attnc_sizes sizes[] = {
      {.size = sizeof *sizes, .b = 1, .h = 8, .hk = 2, .sq = 300, .sk = 400},
      {.size = sizeof *sizes, .b = 2, .h = 1, .hk = 1, .sq = 300, .sk = 400},
      {.size = sizeof *sizes, .b = 2, .h = 8, .hk = 2, .sq = 1, .sk = 1}};
  attnc_error e = {0};
  (void)state;
  attnc_plan *p = load(RT_RECIPE);
  for (int axis = 0; axis < 3; axis++)
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
      Call c;
      call_fill(&c);
      c.n = sizes[axis];
      for (int t = 0; t < 4; t++)
        c.t[t].stride[axis] = odd[i];
      int at = stub.stub_launches();
      if (attnc_launch(p, &c.a, NULL, NULL, &e) != ATTNC_OK)
        fail_msg("axis %d: %s", axis, e.message);
      StubLaunch l = stub.stub_launch_at(at);
      assert_int_equal(l.values[5], axis == 2 ? 0 : 512); /* q's stride[2] */
    }
  attnc_plan_release(p);
}

/* Strides of calls with b 2, h 8, hk 2, sq 300, sk 400, d 64, and what is said of them. */
static const struct {
  int tensor;
  int64_t stride[3];
  const char *says; /* NULL: fine */
} strides[] = {
    {ATTNC_Q, {INT64_MIN, 64, 512}, "leaves the address space"},
    {ATTNC_K, {153600, INT64_MIN, 512}, "leaves the address space"},
    {ATTNC_V, {153600, 64, INT64_MIN}, "leaves the address space"},
    {ATTNC_V, {153600, 64, INT64_MAX / 8 * 8}, "leaves the address space"},
    {ATTNC_Q, {(int64_t)1 << 48, 64, 512}, "leaves the address space"},
    {ATTNC_Q, {(int64_t)1 << 46, 64, 512}, NULL},
    {ATTNC_K, {0, 0, 512}, NULL}, /* keys that all heads and batches share */
    {ATTNC_Q, {153600, 64, -512}, NULL},
    {ATTNC_O, {153600, 64, -512}, NULL},
    {ATTNC_O, {153600, 300 * 64, 64}, NULL},
    {ATTNC_O, {64, 128, 128 * 8}, NULL}, /* batches innermost */
    {ATTNC_O, {0, 64, 512}, "stride[0] is 0"},
    {ATTNC_O, {153600, 0, 512}, "stride[1] is 0"},
    {ATTNC_O, {153600, 64, 0}, "stride[2] is 0"},
    {ATTNC_O, {153600, 32, 512}, "twice"},
    {ATTNC_O, {153600, 64, 448}, "twice"},
    {ATTNC_O, {512 * 299, 64, 512}, "twice"},
    {ATTNC_O, {153600, 64, 56}, "twice"},
    {ATTNC_O, {153600, -64, 64}, "twice"},
};

static void
test_strides(void **state)
{
  (void)state;
  attnc_plan *p = load(RT_RECIPE);
  for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
    Call c;
    attnc_error e = {0};
    call_fill(&c);
    memcpy(c.t[strides[i].tensor].stride, strides[i].stride, sizeof strides[i].stride);
    attnc_status got = attnc_launch(p, &c.a, NULL, NULL, &e);
    if (strides[i].says ? got != ATTNC_ERR_SHAPE || !strstr(e.message, strides[i].says)
                        : got != ATTNC_OK)
      fail_msg("case %zu: %s: %s", i, attnc_status_name(got), e.message);
  }
  attnc_plan_release(p);
}

/* Constants of the kernel hold where something steps. */
static void
test_specialised_strides(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p =
      load_ptx(RT_PTX_OF(".param .u64 q"),
               RT_RECIPE_OF("sm_80", "false", RT_TENSORS, "[]",
                            "{\"align\":16,\"strides\":{\"q\":[153600,64,512,1,0]}}", "0",
                            RT_STEPS("[{\"type\":\"ptr\",\"tensor\":0}]", RT_GRID)));
  call_fill(&c);
  c.t[ATTNC_Q].stride[0] = 8;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "q: stride[0] is 8; this kernel is specialised"));
  c.n.b = 1;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  attnc_plan_release(p);
}

static void
test_arguments_in_range(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  attnc_plan *p =
      load_ptx(RT_PTX_OF(".param .f32 scale"),
               RT_RECIPE_OF("sm_80", "false", RT_TENSORS,
                            "[{\"name\":\"softmax_scale\",\"slot\":0,\"default\":0.5,"
                            "\"positive\":true,\"constant\":false}]",
                            "{\"align\":16,\"max_size\":1000}", "0",
                            RT_STEPS("[{\"type\":\"f32\",\"scalar\":0}]", RT_GRID)));
  const double bad[] = {0, -1, INFINITY, 1e-38, 1.8e38, 1e39, 1e-300};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    call_fill(&c);
    c.a.scalars = &bad[i];
    c.a.n_scalars = 1;
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_USAGE);
    assert_non_null(strstr(e.message, "must be finite and above zero"));
  }
  call_fill(&c);
  c.n.sk = 1001;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_non_null(strstr(e.message, "sk is 1001, more than the 1000 that a kernel takes"));
  attnc_plan_release(p);
}

static void
test_contexts(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_RECIPE), *q = NULL;
  assert_int_equal(try_load(RT_RECIPE, 1, &q, NULL), ATTNC_OK);
  stub_use(1);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_CONTEXT);
  assert_non_null(strstr(e.message, "primary context of device 0"));
  assert_int_equal(attnc_launch(q, &c.a, NULL, NULL, &e), ATTNC_OK);
  stub.cuCtxSetCurrent(NULL);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_CONTEXT);
  assert_non_null(strstr(e.message, "no context is current"));
  assert_int_equal(stub.stub_launches(), 1);
  attnc_plan_release(p);
  attnc_plan_release(q);
  assert_int_equal(stub.stub_primaries(1), 0);
}

static void
test_state_repacks_what_changed(void **state)
{
  Call c;
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_RECIPE), *q = load(RT_RECIPE);
  attnc_launch_state *s = aligned_alloc(64, (attnc_plan_state_bytes(p) + 63) / 64 * 64);
  memset(s, 0, attnc_plan_state_bytes(p));
  for (int i = 0; i < 3; i++)
    assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  c.t[0].data = (char *)c.t[0].data + 64;
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  c.n.sq = 129;
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  c.a.n_scalars = 1;
  c.a.scalars = c.scalars;
  c.scalars[0] = 2.0f;
  assert_int_equal(attnc_launch(p, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(attnc_launch(q, &c.a, NULL, s, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_launches(), 7);
  assert_int_equal(stub.stub_launch_at(2).values[0] + 64, stub.stub_launch_at(3).values[0]);
  assert_int_equal(stub.stub_launch_at(3).grid[0], stub.stub_launch_at(2).grid[0]);
  assert_int_equal(stub.stub_launch_at(4).grid[0], 2);
  assert_int_equal(stub.stub_launch_at(4).values[7], 129);
  assert_true(scale_of(4) == 0.125f);
  assert_true(scale_of(5) == 2.0f);
  assert_true(scale_of(6) == 2.0f);
  free(s);
  attnc_plan_release(p);
  attnc_plan_release(q);
}

#define REGIONS                                                                            \
  "[{\"name\":\"first\",\"bytes\":64},{\"name\":\"second\",\"bytes\":"                     \
  "{\"mul\":[{\"size\":\"b\"},32]}}]"
#define STEPS_WITH_WORKSPACE                                                               \
  "[{\"memset\":{\"workspace\":1,\"value\":7,\"bytes\":{\"mul\":[{\"size\":\"b\"},32]}}}"  \
  ","                                                                                      \
  "{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[{\"type\":\"ptr\",\"workspace\":1},"   \
  "{\"type\":\"ptr\",\"tensor\":3}],\"grid\":[\"sm_count\",1,1],\"block\":[32,1,1],"       \
  "\"shared\":0}}]"

static void
test_workspace_and_memset(void **state)
{
  static _Alignas(256) unsigned char memory[512];
  Call c;
  size_t bytes = 0;
  attnc_error e = {0};
  (void)state;
  call_fill(&c);
  attnc_plan *p = load_ptx(RT_PTX_OF(".param .u64 w, .param .u64 o"),
                           RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS,
                                        RT_REQUIRES, REGIONS, STEPS_WITH_WORKSPACE));
  assert_int_equal(attnc_plan_workspace(p, &c.n, &bytes), ATTNC_OK);
  assert_int_equal(bytes, 320); /* the second from the next multiple of 256 on */
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "a workspace of 320 bytes is needed, 0 are given"));
  c.a.workspace = memory;
  c.a.workspace_bytes = 319;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_USAGE);
  c.a.workspace_bytes = 320;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  assert_int_equal(stub.stub_calls("cuMemsetD8Async"), 1);
  assert_int_equal(memory[255], 0);
  assert_int_equal(memory[256], 7);
  assert_int_equal(memory[319], 7);
  assert_int_equal(memory[320], 0);
  assert_int_equal(stub.stub_launch_at(0).grid[0], 108);
  assert_int_equal(stub.stub_launch_at(0).values[0], (uintptr_t)memory + 256);
  assert_int_equal(stub.stub_launch_at(0).values[1], (uintptr_t)c.t[3].data);
  c.a.workspace = memory + 8;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_ALIGN);
  attnc_plan_release(p);
}

/* A region that 64 bits do not hold, one whose end they do not, and a memset of more than
 * its region has, though the workspace has as much. */
static void
test_workspace_refused(void **state)
{
  static _Alignas(256) unsigned char memory[1024];
  static const struct {
    const char *regions;
    attnc_status asked, launched;
    const char *why;
  } rows[] = {
      {"[{\"name\":\"first\",\"bytes\":64},{\"name\":\"huge\",\"bytes\":{\"mul\":["
       "{\"size\":\"b\"},2147483647,2147483647,2147483647]}}]",
       ATTNC_ERR_SHAPE, ATTNC_ERR_SHAPE, "region huge of its workspace"},
      {"[{\"name\":\"most\",\"bytes\":{\"mul\":[2147483647,2147483647,2]}},"
       "{\"name\":\"more\",\"bytes\":{\"mul\":[{\"size\":\"b\"},2147483647,8]}}]",
       ATTNC_ERR_SHAPE, ATTNC_ERR_SHAPE, "region more of its workspace"},
      {"[{\"name\":\"first\",\"bytes\":512},{\"name\":\"second\",\"bytes\":63}]", ATTNC_OK,
       ATTNC_ERR_INTERNAL, "a memset leaves region second"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char json[4096];
    Call c;
    size_t bytes = 0;
    attnc_error e = {0};
    call_fill(&c);
    c.a.workspace = memory;
    c.a.workspace_bytes = sizeof memory;
    snprintf(json, sizeof json,
             RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "%s",
                          STEPS_WITH_WORKSPACE),
             rows[i].regions);
    attnc_plan *p = load_ptx(RT_PTX_OF(".param .u64 w, .param .u64 o"), json);
    assert_int_equal(attnc_plan_workspace(p, &c.n, &bytes), rows[i].asked);
    assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), rows[i].launched);
    if (!strstr(e.message, rows[i].why))
      fail_msg("'%s' says nothing of '%s'", e.message, rows[i].why);
    attnc_plan_release(p);
  }
}

#define COUNTED                                                                            \
  "[{\"name\":\"first\",\"bytes\":4,\"zero\":true},{\"name\":\"second\",\"bytes\":8,"      \
  "\"zero\":true}%s]"
#define STEPS_WITHOUT_WORKSPACE                                                            \
  "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[{\"type\":\"ptr\",\"workspace\":1},"  \
  "{\"type\":\"ptr\",\"tensor\":3}],\"grid\":[\"sm_count\",1,1],"                          \
  "\"grid_without_workspace\":[{\"mul\":[{\"size\":\"b\"},1000]},1,1],\"block\":[32,1,1]," \
  "\"shared\":0}}]"

static attnc_plan *
counted(const char *more)
{
  char json[4096];
  snprintf(json, sizeof json,
           RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, COUNTED,
                        STEPS_WITHOUT_WORKSPACE),
           more);
  return load_ptx(RT_PTX_OF(".param .u64 w, .param .u64 o"), json);
}

/* With workspace and without; what of it is zero does not depend on what else there is. */
static void
test_launch_without_workspace(void **state)
{
  static _Alignas(256) unsigned char memory[512];
  Call c;
  size_t bytes = 0;
  attnc_error e = {0};
  (void)state;
  call_fill(&c);
  attnc_plan *p = counted(""), *more = counted(",{\"name\":\"third\",\"bytes\":64}");
  assert_int_equal(attnc_plan_workspace(p, &c.n, &bytes), ATTNC_OK);
  assert_int_equal(bytes, 264);
  assert_int_equal(attnc_plan_zeroed_bytes(p), 264);
  assert_int_equal(attnc_plan_zeroed_bytes(more), 264);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  assert_int_equal(stub.stub_launch_at(0).grid[0], 1000 * c.n.b);
  assert_int_equal(stub.stub_launch_at(0).values[0], 0);
  c.a.workspace_bytes = 264; /* of no memory */
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  assert_int_equal(stub.stub_launch_at(1).values[0], 0);
  c.a.workspace = memory;
  c.a.workspace_bytes = 263;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "a workspace of 264 bytes is needed, 263 are given"));
  c.a.workspace_bytes = 264;
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  assert_int_equal(stub.stub_launch_at(2).grid[0], 108);
  assert_int_equal(stub.stub_launch_at(2).values[0], (uintptr_t)memory + 256);
  attnc_launch_state *s = aligned_alloc(64, (attnc_plan_state_bytes(p) + 63) / 64 * 64);
  memset(s, 0, attnc_plan_state_bytes(p));
  for (int i = 3; i < 7; i++) { /* a state's grids are of the workspace, too */
    c.a.workspace = i % 2 ? memory : NULL;
    c.t[0].data = (char *)c.t[0].data + 64;
    assert_int_equal(attnc_launch(p, &c.a, NULL, s, &e), ATTNC_OK);
    assert_int_equal(stub.stub_launch_at(i).grid[0], i % 2 ? 108 : 1000 * c.n.b);
  }
  free(s);
  attnc_plan_release(p);
  attnc_plan_release(more);
}

static void
test_driver_errors(void **state)
{
  Call c;
  attnc_error e = {0};
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_RECIPE);
  stub.stub_fail("cuLaunchKernel", 1, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_ERR_DEVICE);
  assert_int_equal(e.driver_code, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  assert_non_null(strstr(e.message, "cuLaunchKernel: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
  assert_int_equal(attnc_launch(p, &c.a, NULL, NULL, &e), ATTNC_OK);
  attnc_plan_release(p);
}

/* Each call on the way to a plan fails once: nothing is left behind. */
static void
test_load_errors(void **state)
{
  static const char *const calls[] = {"cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2",
                                      "cuModuleLoadDataEx",       "cuModuleGetFunction",
                                      "cuFuncSetAttribute",       "cuFuncLoad",
                                      "cuFuncGetAttribute"};
  (void)state;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    attnc_plan *p = NULL;
    attnc_error e = {0};
    stub.stub_reset();
    stub.stub_fail(calls[i], 1, CUDA_ERROR_UNKNOWN);
    assert_int_equal(try_load(RT_RECIPE, 0, &p, &e), ATTNC_ERR_DEVICE);
    assert_null(p);
    if (strncmp(e.message, calls[i], strlen(calls[i])) != 0)
      fail_msg("%s", e.message);
    assert_int_equal(stub.stub_modules(), 0);
    assert_int_equal(stub.stub_primaries(0), 0);
  }
}

static void
refused(const char *json, attnc_status status, const char *says)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  assert_int_equal(try_load(json, 0, &p, &e), status);
  if (!strstr(e.message, says))
    fail_msg("'%s' does not say '%s'", e.message, says);
}

static void
test_misfits(void **state)
{
#define FOR(target, exact)                                                                 \
  RT_RECIPE_OF(target, exact, RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",                    \
               RT_STEPS(RT_PARAMS, RT_GRID))
  attnc_plan *p = NULL;
  (void)state;
  refused(FOR("sm_86", "false"), ATTNC_ERR_UNSUPPORTED, "made for sm_86 and later");
  refused(FOR("sm_90a", "true"), ATTNC_ERR_UNSUPPORTED, "made for sm_90a alone");
  refused(RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
                       "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[],"
                       "\"grid\":[1,1,1],\"block\":[32,1,1],\"shared\":166913}}]"),
          ATTNC_ERR_UNSUPPORTED, "166913 bytes of shared memory");
  stub.stub_logs("", "ptxas application ptx input, line 9; fatal: no such thing");
  stub.stub_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_INVALID_PTX);
  refused(
      RT_RECIPE, ATTNC_ERR_DEVICE,
      "cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX: ptxas application ptx input, line 9");
  assert_int_equal(try_load("{", 0, &p, NULL), ATTNC_ERR_IO);
#undef FOR
}

static void
test_old_driver(void **state)
{
  const Driver *old = NULL;
  attnc_error e = {0};
  attnc_plan *p = NULL;
  PlanText text = {.ptx = RT_PTX,
                   .json = RT_RECIPE,
                   .json_n = strlen(RT_RECIPE),
                   .source = "model",
                   .layer = "miss"};
  (void)state;
  assert_int_equal(drv_open(STUB_OLD, &old, NULL), ATTNC_OK);
  Driver older = *old;
  older.version = 10020;
  assert_int_equal(plan_load(old, &old->devices[0], &text, &p, &e), ATTNC_OK);
  assert_int_equal(
      plan_fits(p->recipe, &(PlanImages){.ptx = true}, &older, &old->devices[0], &e),
      ATTNC_ERR_UNSUPPORTED);
  assert_non_null(strstr(e.message, "for CUDA 11.0;"));
  assert_non_null(strstr(e.message, "is for CUDA 10.2"));
  attnc_plan_release(p);
  drv_close(old);
}

static void
test_plan_json(void **state)
{
  (void)state;
  stub.stub_logs("ptxas info    : Function properties for attnc_fwd\n"
                 "    8 bytes stack frame, 12 bytes spill stores, 4 bytes spill loads\n"
                 "ptxas info    : Used 168 registers\n"
                 "ptxas info    : (C7514) Potential Performance Loss: serialised\n",
                 "");
  attnc_plan *p = load(RT_RECIPE);
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL);
  assert_non_null(j);
  assert_string_equal(json_string_value(json_object_get(j, "schema")), "attnc.kernel/3");
  assert_string_equal(json_string_value(json_object_get(j, "source")), "model");
  assert_string_equal(json_string_value(json_object_get(j, "layer")), "miss");
  assert_string_equal(json_string_value(json_object_get(j, "device")), "Stub 0");
  assert_int_equal(json_integer_value(json_object_get(j, "registers")), 168);
  assert_int_equal(json_integer_value(json_object_get(j, "spilled_bytes")), 16);
  assert_int_equal(json_array_size(json_object_get(j, "notes")), 2);
  json_t *diagnostics = json_object_get(j, "diagnostics");
  assert_int_equal(json_array_size(diagnostics), 1);
  assert_non_null(strstr(json_string_value(json_array_get(diagnostics, 0)), "(C7514)"));
  json_t *seconds = json_object_get(j, "seconds");
  assert_true(fabs(json_real_value(json_object_get(seconds, "compile")) - 0.1) < 1e-6);
  assert_true(json_real_value(json_object_get(seconds, "load")) > 0);
  json_decref(j);
  assert_int_equal(stub.stub_shared_opt_in(), 65536);
  assert_int_equal(stub.stub_calls("cuFuncLoad"), 1);
  assert_int_equal(attnc_plan_slot(p, "lse"), ATTNC_LSE);
  assert_int_equal(attnc_plan_slot(p, "bias"), -1);
  attnc_plan_retain(p);
  attnc_plan_release(p);
  assert_int_equal(stub.stub_modules(), 1);
  attnc_plan_release(p);
  attnc_plan_release(NULL);
}

static void *
launch_often(void *arg)
{
  Call c;
  stub_use(0);
  call_fill(&c);
  for (int i = 0; i < 1000; i++)
    if (attnc_launch(arg, &c.a, NULL, NULL, NULL) != ATTNC_OK)
      return "failed";
  return NULL;
}

static void
test_threads(void **state)
{
  pthread_t threads[4];
  (void)state;
  attnc_plan *p = load(RT_RECIPE);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, launch_often, p), 0);
  for (int i = 0; i < 4; i++) {
    void *failed;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  assert_int_equal(stub.stub_launches(), 4000);
  attnc_plan_release(p);
}

static double
nanoseconds(struct timespec a, struct timespec b, int n)
{
  return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n;
}

/* What attnc adds to the driver's two calls.  A printed figure; the bound is one that only
 * an allocation or a lock would pass. */
static void
test_overhead(void **state)
{
  enum { N = 200000 };
  Call c;
  struct timespec t[4];
  CUcontext context;
  (void)state;
  call_fill(&c);
  attnc_plan *p = load(RT_RECIPE);
  attnc_launch_state *s = aligned_alloc(64, (attnc_plan_state_bytes(p) + 63) / 64 * 64);
  memset(s, 0, attnc_plan_state_bytes(p));
  Value values[RECIPE_PARAMS] = {0};
  void *pointers[RECIPE_PARAMS];
  for (int i = 0; i < RECIPE_PARAMS; i++)
    pointers[i] = &values[i];
  clock_gettime(CLOCK_MONOTONIC, &t[0]);
  for (int i = 0; i < N; i++) {
    drv->cuCtxGetCurrent(&context);
    drv->cuLaunchKernel(p->functions[0], 1, 1, 1, 1, 1, 1, 0, NULL, pointers, NULL);
  }
  clock_gettime(CLOCK_MONOTONIC, &t[1]);
  for (int i = 0; i < N; i++)
    attnc_launch(p, &c.a, NULL, NULL, NULL);
  clock_gettime(CLOCK_MONOTONIC, &t[2]);
  for (int i = 0; i < N; i++)
    attnc_launch(p, &c.a, NULL, s, NULL);
  clock_gettime(CLOCK_MONOTONIC, &t[3]);
  double bare = nanoseconds(t[0], t[1], N), without = nanoseconds(t[1], t[2], N),
         with = nanoseconds(t[2], t[3], N);
  print_message("attnc_launch adds %.0f ns, with a state %.0f ns, to the stub's %.0f ns\n",
                without - bare, with - bare, bare);
  assert_true(without - bare < 20000 && with - bare < 20000);
  free(s);
  attnc_plan_release(p);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(test_packing),
      TEST(test_scalars),
      TEST(test_axes_of_length_one),
      TEST(test_strides),
      TEST(test_specialised_strides),
      TEST(test_faults),
      TEST(test_nothing_to_do),
      TEST(test_specialised),
      TEST(test_arguments_in_range),
      TEST(test_contexts),
      TEST(test_state_repacks_what_changed),
      TEST(test_workspace_and_memset),
      TEST(test_workspace_refused),
      TEST(test_launch_without_workspace),
      TEST(test_driver_errors),
      TEST(test_load_errors),
      TEST(test_misfits),
      TEST(test_old_driver),
      TEST(test_plan_json),
      TEST(test_threads),
      TEST(test_overhead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
