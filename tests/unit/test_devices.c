/* Two emulated devices in one process: a plan runs where it belongs and nowhere else, one
 * kernel serves both, and the tuning table of the emulator is not a GPU's. */
#include "tests/unit/rt.h"

#include "runtime/drv.h"

#include <pthread.h>

enum { H = 2, S = 80, D = 64, N = H * S * D };

static const char text[] = "attnc: 1\nname: two\ndtype: fp16\nhead_dim: 64\ncausal: true\n";

static const Driver *drv;
static attnc_context *ctx;
static attnc_spec *spec;
static char *dir;

static int
setup(void **state)
{
  (void)state;
  setenv("ATTNC_EMU", "devices=2", 1);
  dir = rt_scratch();
  attnc_options o = {
      .size = sizeof o, .libcuda = EMULATOR, .cache_dir = dir, .cache = 3, .tune_dir = dir};
  assert_int_equal(drv_open(EMULATOR, &drv, NULL), ATTNC_OK);
  assert_true(drv->emulated);
  assert_int_equal(drv->n_devices, 2);
  assert_int_equal(attnc_spec_load(text, strlen(text), "two", &spec, NULL), ATTNC_OK);
  return attnc_context_create(&o, &ctx, NULL) != ATTNC_OK;
}

static int
teardown(void **state)
{
  (void)state;
  attnc_context_release(ctx);
  attnc_spec_release(spec);
  drv_close(drv);
  rt_remove(dir);
  return 0;
}

/* A problem in a device's memory. */
typedef struct Run {
  int device;
  attnc_plan *plan;
  CUcontext context;
  uint16_t host[4][N];
  attnc_tensor tensors[4];
  attnc_args args;
} Run;

static void
use(const Run *r)
{
  assert_int_equal(drv->cuCtxSetCurrent(r->context), CUDA_SUCCESS);
}

static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = 1, .h = H, .hk = H, .sq = S, .sk = S};

static void
prepare(Run *r, int device)
{
  attnc_error e = {0};
  attnc_problem p = {.size = sizeof p, .device = device + 1, .sizes = &sizes};
  r->device = device;
  assert_int_equal(drv->cuDevicePrimaryCtxRetain(&r->context, drv->devices[device].handle),
                   0);
  use(r);
  if (attnc_plan_get(ctx, spec, &p, &r->plan, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  for (int t = 0; t < 4; t++) {
    CUdeviceptr at = 0;
    for (int i = 0; i < N; i++)
      r->host[t][i] =
          (uint16_t)(0x3400 + (i * 37 + t * 11 + device) % 900); /* 0.25 … 0.5 */
    assert_int_equal(drv->cuMemAlloc_v2(&at, sizeof r->host[t]), CUDA_SUCCESS);
    assert_int_equal(drv->cuMemcpyHtoD_v2(at, r->host[t], sizeof r->host[t]), CUDA_SUCCESS);
    r->tensors[t] = (attnc_tensor){(void *)(uintptr_t)at, {N, S * D, D, 1, 0}};
  }
  r->args = (attnc_args){.size = sizeof r->args,
                         .sizes = &sizes,
                         .tensors = r->tensors,
                         .tensor_size = sizeof(attnc_tensor),
                         .n_tensors = 4};
}

static void
finish(Run *r)
{
  use(r);
  attnc_plan_release(r->plan);
  for (int t = 0; t < 4; t++)
    drv->cuMemFree_v2((CUdeviceptr)(uintptr_t)r->tensors[t].data);
  drv->cuCtxSetCurrent(NULL);
  drv->cuDevicePrimaryCtxRelease_v2(drv->devices[r->device].handle);
}

static attnc_status
launch(const Run *r, attnc_error *e)
{
  attnc_status status = attnc_launch(r->plan, &r->args, NULL, NULL, e);
  if (status == ATTNC_OK && drv->cuCtxSynchronize() != CUDA_SUCCESS)
    return ATTNC_ERR_DEVICE;
  return status;
}

/* The output on the device, against the reference. */
static void
verify(Run *r)
{
  attnc_tensor host[4];
  attnc_verdict verdict = {.size = sizeof verdict};
  attnc_args args = r->args;
  CUdeviceptr o = (CUdeviceptr)(uintptr_t)r->tensors[ATTNC_O].data;
  assert_int_equal(drv->cuMemcpyDtoH_v2(r->host[ATTNC_O], o, sizeof r->host[0]),
                   CUDA_SUCCESS);
  for (int t = 0; t < 4; t++) {
    host[t] = r->tensors[t];
    host[t].data = r->host[t];
  }
  args.tensors = host;
  assert_int_equal(attnc_verify(spec, ATTNC_OP_FWD, &args, &verdict, NULL), ATTNC_OK);
  assert_true(verdict.pass);
  assert_int_equal(verdict.rows, H * S);
}

static void
no_findings(void)
{
  char found[512] = "";
  if (drv->attncEmuTakeFindings(found, sizeof found))
    fail_msg("%s", found);
}

static void
test_each_plan_on_its_device(void **state)
{
  static Run a, b;
  attnc_error e = {0};
  (void)state;
  prepare(&a, 0);
  prepare(&b, 1);
  assert_ptr_not_equal(a.plan, b.plan);
  assert_non_null(strstr(attnc_plan_json(a.plan), "\"layer\": \"miss\""));
  assert_non_null(strstr(attnc_plan_json(b.plan), "\"layer\": \"memory\""));
  assert_int_equal(launch(&a, &e), ATTNC_ERR_CONTEXT); /* b's context is current */
  assert_int_equal(launch(&b, &e), ATTNC_OK);
  use(&a);
  assert_int_equal(launch(&b, &e), ATTNC_ERR_CONTEXT);
  assert_int_equal(launch(&a, &e), ATTNC_OK);
  verify(&a);
  use(&b);
  verify(&b);
  assert_memory_not_equal(a.host[ATTNC_O], b.host[ATTNC_O], sizeof a.host[0]);
  drv->cuCtxSetCurrent(NULL);
  assert_int_equal(launch(&a, &e), ATTNC_ERR_CONTEXT);
  finish(&a);
  finish(&b);
  no_findings();
}

static void *
launch_on_a_thread(void *arg)
{
  Run *r = arg;
  attnc_error e = {0};
  use(r);
  return launch(r, &e) == ATTNC_OK ? NULL : r;
}

static void
test_at_the_same_time(void **state)
{
  static Run runs[2];
  pthread_t threads[2];
  void *failed;
  (void)state;
  for (int i = 0; i < 2; i++)
    prepare(&runs[i], i);
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, launch_on_a_thread, &runs[i]), 0);
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  for (int i = 0; i < 2; i++) {
    use(&runs[i]);
    verify(&runs[i]);
    finish(&runs[i]);
  }
  no_findings();
}

static void
test_tables_have_the_emulators_name(void **state)
{
  attnc_error e = {0};
  char path[300];
  (void)state;
  attnc_schedule s = {.size = sizeof s,
                      .template_name = "fwd_mma",
                      .block_m = 64,
                      .block_n = 64,
                      .num_stages = 2,
                      .num_warps = 4,
                      .options = "q_in_regs=true"};
  attnc_problem p = {.size = sizeof p, .device = 1, .sizes = &sizes};
  attnc_plan *plan = NULL;
  if (attnc_tune_record(ctx, spec, &p, &s, 1000, "est_cycles", &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  snprintf(path, sizeof path, "%s/attnc_emulated_sm_80.jsonl", dir);
  assert_int_equal(access(path, F_OK), 0);
  assert_int_equal(attnc_plan_get(ctx, spec, &p, &plan, &e), ATTNC_OK);
  assert_non_null(strstr(attnc_plan_json(plan), "\"source\": \"exact\""));
  attnc_plan_release(plan);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_plan_on_its_device),
      cmocka_unit_test(test_at_the_same_time),
      cmocka_unit_test(test_tables_have_the_emulators_name),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
