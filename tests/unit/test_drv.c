#include "tests/unit/stub.h"

#include "runtime/drv.h"

#include <pthread.h>

static int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub.cuCtxSetCurrent(NULL);
  return 0;
}

static const Driver *
open_stub(void)
{
  const Driver *d = NULL;
  attnc_error e = {0};
  if (drv_open(STUB_LIBCUDA, &d, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return d;
}

static void
test_one_driver_per_path(void **state)
{
  (void)state;
  const Driver *a = open_stub(), *b = open_stub();
  assert_ptr_equal(a, b);
  assert_int_equal(stub.stub_calls("cuInit"), 1);
  assert_int_equal(a->n_devices, 2);
  assert_int_equal(a->version, 13000);
  assert_false(a->emulated);
  assert_string_equal(a->devices[1].name, "Stub 1");
  assert_int_equal(a->devices[1].cc, 80);
  assert_int_equal(a->devices[1].sms, 108);
  drv_close(a);
  drv_close(b);
  drv_close(NULL);
}

static void
refused(const char *path, attnc_status status, const char *says)
{
  const Driver *d = NULL;
  attnc_error e = {0};
  assert_int_equal(drv_open(path, &d, &e), status);
  assert_int_equal(e.status, status);
  if (!strstr(e.message, says))
    fail_msg("'%s' does not say '%s'", e.message, says);
}

static void
test_refusals(void **state)
{
  (void)state;
  refused("/nowhere/libcuda.so.1", ATTNC_ERR_NO_DEVICE, "/nowhere/libcuda.so.1");
  refused("libm.so.6", ATTNC_ERR_NO_DEVICE, "has no cuInit");
  refused(STUB_BROKEN, ATTNC_ERR_NO_DEVICE,
          "has no cuMemsetD8Async: the driver is too old");
  stub.stub_fail("cuInit", 1, CUDA_ERROR_NO_DEVICE);
  refused(STUB_LIBCUDA, ATTNC_ERR_NO_DEVICE, "cuInit: CUDA_ERROR_NO_DEVICE: the stub");
  stub.stub_fail("cuDeviceGetAttribute", 3, CUDA_ERROR_UNKNOWN);
  refused(STUB_LIBCUDA, ATTNC_ERR_DEVICE, "cuDeviceGetAttribute: CUDA_ERROR_UNKNOWN");
  /* A refusal is not kept. */
  drv_close(open_stub());
}

static void
test_optional_entries_are_capabilities(void **state)
{
  (void)state;
  const Driver *d = NULL;
  assert_int_equal(drv_open(STUB_OLD, &d, NULL), ATTNC_OK);
  assert_null(d->cuFuncLoad);
  assert_non_null(d->cuLaunchKernel);
  drv_close(d);
}

static void
test_environment_names_the_library(void **state)
{
  const Driver *d = NULL;
  (void)state;
  setenv("ATTNC_LIBCUDA", STUB_LIBCUDA, 1);
  assert_int_equal(drv_open(NULL, &d, NULL), ATTNC_OK);
  assert_string_equal(d->path, STUB_LIBCUDA);
  drv_close(d);
  unsetenv("ATTNC_LIBCUDA");
}

static void
test_devices(void **state)
{
  const Device *device;
  attnc_error e = {0};
  (void)state;
  const Driver *d = open_stub();
  assert_int_equal(drv_device(d, -1, &device, NULL), ATTNC_OK);
  assert_int_equal(device->ordinal, 0);
  stub_use(1);
  assert_int_equal(drv_device(d, -1, &device, NULL), ATTNC_OK);
  assert_int_equal(device->ordinal, 1);
  assert_int_equal(drv_device(d, 0, &device, NULL), ATTNC_OK);
  assert_int_equal(device->ordinal, 0);
  assert_int_equal(drv_device(d, 2, &device, &e), ATTNC_ERR_NO_DEVICE);
  assert_non_null(strstr(e.message, "no device 2"));
  drv_close(d);
}

static void
test_codes_have_names_and_statuses(void **state)
{
  static const struct {
    CUresult code;
    attnc_status status;
    const char *says;
  } cases[] = {
      {CUDA_ERROR_INVALID_PTX, ATTNC_ERR_DEVICE, "f: CUDA_ERROR_INVALID_PTX: line 3"},
      {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, ATTNC_ERR_UNSUPPORTED, "UNSUPPORTED_PTX"},
      {CUDA_ERROR_INVALID_CONTEXT, ATTNC_ERR_CONTEXT, "INVALID_CONTEXT"},
      {4711, ATTNC_ERR_DEVICE, "unknown error"},
  };
  (void)state;
  const Driver *d = open_stub();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_error e = {0};
    assert_int_equal(drv_fail(d, cases[i].code, "f", "line 3", &e), cases[i].status);
    assert_int_equal(e.driver_code, cases[i].code);
    if (!strstr(e.message, cases[i].says))
      fail_msg("%s", e.message);
  }
  drv_close(d);
}

static void *
open_and_close(void *arg)
{
  const Driver **out = arg;
  assert_int_equal(drv_open(STUB_LIBCUDA, out, NULL), ATTNC_OK);
  return NULL;
}

static void
test_threads_share_one_load(void **state)
{
  pthread_t threads[8];
  const Driver *drivers[8];
  (void)state;
  for (int i = 0; i < 8; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, &drivers[i]), 0);
  for (int i = 0; i < 8; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(stub.stub_calls("cuInit"), 1);
  for (int i = 0; i < 8; i++) {
    assert_ptr_equal(drivers[i], drivers[0]);
    drv_close(drivers[i]);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_one_driver_per_path, setup),
      cmocka_unit_test_setup(test_refusals, setup),
      cmocka_unit_test_setup(test_optional_entries_are_capabilities, setup),
      cmocka_unit_test_setup(test_environment_names_the_library, setup),
      cmocka_unit_test_setup(test_devices, setup),
      cmocka_unit_test_setup(test_codes_have_names_and_statuses, setup),
      cmocka_unit_test_setup(test_threads_share_one_load, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
