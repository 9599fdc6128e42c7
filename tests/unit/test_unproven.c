/* Every form that is executed says what its bits rest on. */
#include "emulator/check/unproven.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const forms[] = {
#define SET(name, values)
#define ON(name, list)
#define FORM(mnemonic, ...) mnemonic,
#include "emulator/ptx/ops.def"
#undef FORM
#undef ON
#undef SET
};

static const struct {
  const char *opcodes, *basis, *assumed;
} rows[] = {
#define X(opcodes, basis, assumed) {opcodes, basis, assumed},
    UNPROVEN_TABLE(X)
#undef X
};
enum { FORMS = sizeof forms / sizeof *forms, ROWS = sizeof rows / sizeof *rows };

static bool
has_word(const char *text, const char *word, size_t n)
{
  for (const char *p = text; *p; p += strcspn(p, " |"), p += strspn(p, " |?"))
    if (strcspn(p, " |?") == n && !strncmp(p, word, n))
      return true;
  return false;
}

/* "a b c" names three opcodes; "a mod; b" an opcode with a modifier, then another. */
static bool
names(const char *opcodes, const char *form)
{
  size_t opcode = strcspn(form, " ");
  bool pairs = strchr(opcodes, ';');
  for (const char *p = opcodes; *p; p += strspn(p, " ;")) {
    size_t n = strcspn(p, " ;");
    bool same = n == opcode && !strncmp(p, form, n);
    p += n;
    if (pairs && *p == ' ') {
      p++;
      n = strcspn(p, ";");
      same = same && has_word(form + opcode + 1, p, n);
      p += n;
    }
    if (same)
      return true;
  }
  return false;
}

static void
test_every_form_has_a_row(void **state)
{
  (void)state;
  int used[ROWS] = {0};
  for (int i = 0; i < FORMS; i++) {
    int r = 0;
    while (r < ROWS && !names(rows[r].opcodes, forms[i]))
      r++;
    if (r == ROWS)
      fail_msg("no row for %s", forms[i]);
    used[r]++;
  }
  for (int r = 0; r < ROWS; r++)
    if (!used[r])
      fail_msg("no form for %s", rows[r].opcodes);
}

static void
test_rows_are_filled_in(void **state)
{
  (void)state;
  for (int r = 0; r < ROWS; r++) {
    assert_true(strlen(rows[r].assumed) > 0);
    assert_true(has_word("text bound model choice", rows[r].basis, strlen(rows[r].basis)));
    if (strcmp(rows[r].basis, "text"))
      assert_string_not_equal(rows[r].assumed, "-");
  }
}

static void
test_names(void **state)
{
  (void)state;
  assert_true(names("a div approx", "div rn f32"));
  assert_true(names("x; div approx", "div approx|full ftz? f32"));
  assert_true(names("x; div full", "div approx|full ftz? f32"));
  assert_false(names("x; div approx", "div rn f32"));
  assert_true(names("x; div approx", "x f32"));
  assert_false(names("di divx", "div rn f32"));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_every_form_has_a_row),
      cmocka_unit_test(test_rows_are_filled_in),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
