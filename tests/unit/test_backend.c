/* The module with LLVM is opened if it is of this build, and refused with the reason if
 * not: a tree that was rebuilt by halves, a library that was copied from another place. */
#include "compiler/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
refused(const char *is, const char *says)
{
  const LlvmModule *m = NULL;
  attnc_error e = {0};
  setenv("MODULE_IS", is, 1);
  assert_int_equal(backend_open(&m, &e), ATTNC_ERR_COMPILE);
  assert_null(m);
  assert_null(backend_path());
  if (!strstr(e.message, says))
    fail_msg("%s: %s", is, e.message);
}

static void
test_refused(void **state)
{
  char abi[60];
  (void)state;
  setenv("ATTNC_LLVM", MODULE, 1);
  refused("code", MODULE " is of another build than libattnc (code 0123456789ab, not ");
  refused("llvm", MODULE " is LLVM 21.1.0, libattnc was built with 22.");
  snprintf(abi, sizeof abi, " has ABI %d, %d is needed", LLVM_MODULE_ABI - 1,
           LLVM_MODULE_ABI);
  refused("abi", abi);
}

/* Behind all that was refused. */
static void
test_opened(void **state)
{
  const LlvmModule *m = NULL;
  attnc_error e = {0};
  (void)state;
  unsetenv("MODULE_IS");
  assert_int_equal(backend_open(&m, &e), ATTNC_OK);
  assert_non_null(m);
  assert_string_equal(backend_path(), MODULE);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),
                                     cmocka_unit_test(test_opened)};
  return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
