/* Launches against the clock, on the driver that records: how many there are, and what is
 * done to the L2 cache between them. */
#include "tests/unit/get_kit.h"

#include "harness/execute.h"

static void
timed(const Device *d, bool cold, int launches, int memsets)
{
  attnc_context *c = context();
  attnc_plan *p = get(c);
  attnc_sizes sizes = {.size = sizeof sizes, .b = 1, .h = 8, .hk = 8, .sq = 64, .sk = 64};
  attnc_tensor t[5] = {0};
  Execution x;
  Timing timing = {0};
  attnc_error e = {0};
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){.data = (void *)(uintptr_t)(0x10000 * (i + 1)),
                          .stride = {8 * 64 * 64, 64 * 64, 64, 1}};
  const attnc_args args = {.size = sizeof args,
                           .sizes = &sizes,
                           .tensors = t,
                           .tensor_size = sizeof *t,
                           .n_tensors = 5};
  assert_int_equal(execution_new(d, p, &args, &x, &e), ATTNC_OK);
  int before = stub.stub_calls("cuMemsetD8Async"), ran = stub.stub_calls("cuLaunchKernel");
  int taken = stub.stub_calls("cuMemAlloc_v2"), given = stub.stub_calls("cuMemFree_v2");
  if (execute_timed(&x, 3, 10, cold, &timing, &e))
    fail_msg("%s", e.message);
  assert_int_equal(timing.n, 10);
  assert_int_equal(stub.stub_calls("cuLaunchKernel") - ran, launches);
  assert_int_equal(stub.stub_calls("cuMemsetD8Async") - before, memsets);
  assert_int_equal(stub.stub_calls("cuMemAlloc_v2") - taken, cold);
  assert_int_equal(stub.stub_calls("cuMemFree_v2") - given, cold);
  execution_free(&x);
  attnc_plan_release(p);
  attnc_context_release(c);
}

static void
test_l2(void **state)
{
  Device d;
  attnc_error e = {0};
  (void)state;
  if (device_open_at(&d, STUB_LIBCUDA, NULL, 0, &e))
    fail_msg("%s", e.message);
  timed(&d, false, 13, 0);
  timed(&d, true, 13, 10);
  device_close(&d);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {GET_TEST(test_l2)};
  return cmocka_run_group_tests_name("execute", tests, NULL, NULL);
}
