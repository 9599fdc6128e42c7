/* What compiler and runtime agree on about PTX text. */
#include "base/ptx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
drivers_of_versions(void **state)
{
  (void)state;
  static const int known[][2] = {{70, 11000}, {74, 11040}, {78, 11080}, {80, 12000},
                                 {85, 12050}, {86, 12070}, {88, 12090}, {90, 13000}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_int_equal(ptx_driver(known[i][0]), known[i][1]);
  static const int none[] = {0, 65, 79, 89, 91, 700};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_int_equal(ptx_driver(none[i]), 0);
  for (int v = 70; v < 90; v++) /* a later version never takes an older driver */
    assert_true(!ptx_driver(v) || !ptx_driver(v + 1) || ptx_driver(v) < ptx_driver(v + 1));
}

static void
versions_are_read(void **state)
{
  static const struct {
    const char *text;
    attnc_status status;
    int version;
    const char *says;
  } cases[] = {
      {NULL, ATTNC_OK, 71, NULL},
      {"7.1", ATTNC_OK, 71, NULL},
      {"7.4", ATTNC_OK, 74, NULL},
      {"9.0", ATTNC_OK, 90, NULL},
      {"7.0", ATTNC_ERR_UNSUPPORTED, 0, "at least 7.1"},
      {"9.1", ATTNC_ERR_UNSUPPORTED, 0, "up to 9.0"},
      {"7.9", ATTNC_ERR_UNSUPPORTED, 0, "there is no PTX 7.9"},
      {"8.9", ATTNC_ERR_UNSUPPORTED, 0, "there is no PTX 8.9"},
      {"", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8.", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8.00", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"10.0", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"-8.0", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8.-1", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8.0 ", ATTNC_ERR_USAGE, 0, "no PTX version"},
      {"8.0x", ATTNC_ERR_USAGE, 0, "no PTX version"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_error e = {0};
    int version = 0;
    attnc_status got = ptx_version_read(cases[i].text, 71, &version, &e);
    if (got != cases[i].status || (cases[i].says && !strstr(e.message, cases[i].says)))
      fail_msg("'%s': %s: %s", cases[i].text, attnc_status_name(got), e.message);
    if (got == ATTNC_OK)
      assert_int_equal(version, cases[i].version);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(drivers_of_versions),
      cmocka_unit_test(versions_are_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
