/* Targets: since when they are there, where they run, what they have, as ptxas has it. */
#include "emulator/driver/device.h"
#include "emulator/ptx/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool
listed(const char *list, const char *name)
{
  size_t n = strlen(name);
  for (const char *p = list; *p; p += strcspn(p, " "), p += *p == ' ')
    if (strcspn(p, " ") == n && !memcmp(p, name, n))
      return true;
  return false;
}

typedef struct Named {
  int sm;
  char suffix;
} Named;

static Named
named(const char *name)
{
  char *end;
  int sm = (int)strtol(name, &end, 10);
  return (Named){sm, *end};
}

/* What ptxas 13.0 makes of a module of each target, for each chip. */
static void
test_where_it_runs(void **state)
{
  static const char *const chips[] = {"75",  "80",  "86",  "87",  "89", "90",
                                      "100", "103", "110", "120", "121"};
  static const struct {
    const char *target, *chips;
  } rows[] = {
      {"75", "75 80 86 87 89 90 100 103 110 120 121"},
      {"80", "80 86 87 89 90 100 103 110 120 121"},
      {"90", "90 100 103 110 120 121"},
      {"90a", "90"},
      {"100", "100 103 110 120 121"},
      {"100a", "100"},
      {"100f", "100 103"},
      {"101a", "110"},
      {"101f", "110"},
      {"103", "103 110 120 121"},
      {"103a", "103"},
      {"103f", "103"},
      {"110f", "110"},
      {"120", "120 121"},
      {"120a", "120"},
      {"120f", "120 121"},
      {"121a", "121"},
      {"121f", "121"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t c = 0; c < sizeof chips / sizeof *chips; c++) {
      Named t = named(rows[i].target);
      bool runs = target_runs_on(t.sm, t.suffix, atoi(chips[c]));
      if (runs != listed(rows[i].chips, chips[c]))
        fail_msg("sm_%s on sm_%s: %d", rows[i].target, chips[c], runs);
    }
}

static void
test_since_when(void **state)
{
  static const struct {
    const char *target;
    int version; /* 0: never */
  } rows[] = {{"75", 63},   {"80", 70},   {"90", 78},   {"90a", 80},  {"90f", 0},
              {"80a", 0},   {"100", 86},  {"100a", 86}, {"100f", 88}, {"101f", 88},
              {"103", 88},  {"103f", 88}, {"110", 90},  {"110a", 90}, {"120", 87},
              {"120a", 87}, {"120f", 88}, {"121", 88},  {"99", 0},    {"0", 0}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Named t = named(rows[i].target);
    int v = rows[i].version;
    if (v ? !target_exists(t.sm, t.suffix, v) || target_exists(t.sm, t.suffix, v - 1)
          : target_exists(t.sm, t.suffix, 1000))
      fail_msg("sm_%s", rows[i].target);
  }
}

static void
test_what_they_have(void **state)
{
  char words[80];
  (void)state;
  assert_true(target_has(90, 'a', ON_90A));
  assert_false(target_has(90, 0, ON_90A));
  assert_false(target_has(100, 'a', ON_90A));
  assert_true(target_has(90, 'a', ON_MAXNREG));
  assert_true(target_has(100, 'f', ON_MAXNREG));
  assert_true(target_has(103, 'a', ON_MAXNREG));
  assert_true(target_has(101, 'a', ON_MAXNREG));
  assert_true(target_has(121, 'f', ON_MAXNREG));
  assert_false(target_has(100, 0, ON_MAXNREG));
  assert_true(target_has(100, 0, 90));
  assert_false(target_has(89, 0, 90));
  assert_string_equal(target_words(90, words, sizeof words), "sm_90 or higher");
  assert_string_equal(target_words(ON_90A, words, sizeof words), "sm_90a");
  assert_string_equal(target_words(ON_MAXNREG, words, sizeof words),
                      "sm_90a or sm_100f or sm_110f or sm_120f");
}

static void
test_chips(void **state)
{
  const Chip *turing = chip_find("sm_75"), *blackwell = chip_find("sm_100a");
  (void)state;
  assert_int_equal(turing->smem_optin, 64 << 10);
  assert_int_equal(turing->threads_sm, 1024);
  assert_int_equal(turing->blocks_sm, 16);
  assert_int_equal(chip_reserved(turing), 0);
  assert_ptr_equal(blackwell, chip_find("sm_100"));
  assert_int_equal(blackwell->sms, 148);
  assert_int_equal(blackwell->smem_optin, 227 << 10);
  assert_int_equal(chip_reserved(blackwell), 1024);
  assert_ptr_equal(chip_find("sm_90a"), chip_find("sm_90"));
  assert_null(chip_find("sm_75a"));
  assert_null(chip_find("sm_80f"));
  assert_null(chip_find("a"));
  assert_null(chip_find(""));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_where_it_runs),
      cmocka_unit_test(test_since_when),
      cmocka_unit_test(test_what_they_have),
      cmocka_unit_test(test_chips),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
