/* Every tests/bad/NAME.attn.yaml is refused with what NAME.err says: place, code, message
 * and help of each fault, in the order of the reports. */
#include "base/str.h"
#include "compiler/spec/spec_load.h"
#include "tests/golden.h"

#include <attnc/attnc.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
put_diag(Str *out, const attnc_diag *d)
{
  str_printf(out, "%d:%d: %s[A%04d]: %s\n", d->line, d->col, d->error ? "error" : "warning",
             d->code, d->message);
  if (d->help)
    str_printf(out, "    help: %s\n", d->help);
}

/* What the diagnostics say must be printable, wherever it came from. */
static void
check_printable(const char *text)
{
  for (const char *p = text; *p; p++)
    assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void
check_diag(const attnc_diag *d, const char *file)
{
  assert_string_equal(d->file, file);
  assert_true(d->line >= 0 && d->col >= (d->line ? 1 : 0) && d->width >= 1);
  assert_true(d->line == 0 || d->source != NULL);
  check_printable(d->message);
  if (d->help)
    check_printable(d->help);
}

static bool seen_codes[1000];

static bool
check_bad(const char *name, Arena *arena)
{
  char path[256];
  size_t n = 0;
  snprintf(path, sizeof path, "tests/bad/%s.attn.yaml", name);
  char *text = golden_read(path, &n);
  assert_non_null(text);
  attnc_diags *diags = NULL;
  assert_int_equal(attnc_diags_create(&diags), ATTNC_OK);
  attnc_spec *spec = (attnc_spec *)diags;
  attnc_status status = attnc_spec_load(text, n, path, &spec, diags);
  Str out = str_new(arena);
  for (size_t i = 0; i < attnc_diags_count(diags); i++) {
    const attnc_diag *d = attnc_diags_get(diags, i);
    check_diag(d, path);
    put_diag(&out, d);
    seen_codes[d->code] = true;
  }
  if (status != ATTNC_ERR_SPEC || spec || !diags_errors(diags))
    fprintf(stderr, "%s: is not refused\n", path);
  assert_int_equal(status, ATTNC_ERR_SPEC);
  assert_null(spec);
  assert_true(diags_errors(diags) > 0);
  attnc_diags_release(diags);
  /* Without a collection the answer is the same. */
  assert_int_equal(attnc_spec_load(text, n, path, &spec, NULL), ATTNC_ERR_SPEC);
  free(text);
  snprintf(path, sizeof path, "tests/bad/%s.err", name);
  return golden_same(path, out.p);
}

static void
bad_specs_are_refused_in_place(void **state)
{
  int n = 0, wrong = 0;
  char **names = golden_list("tests/bad", ".attn.yaml", &n);
  Arena *arena = arena_new(0);
  (void)state;
  for (int i = 0; i < n; i++)
    wrong += !check_bad(names[i], arena);
  arena_free(arena);
  golden_list_free(names, n);
  printf("%d bad specs\n", n);
  assert_true(n >= 60);
  assert_int_equal(wrong, 0);
}

/* Every error of the table has a bad spec; warnings have tests of their own. */
static void
every_error_has_a_bad_spec(void **state)
{
  (void)state;
  for (int i = 0; i < SE_COUNT; i++) {
    int code = spec_errors[i].code;
    if (code < 180 && !seen_codes[code])
      fprintf(stderr, "no bad spec for A%04d: %s\n", code, spec_errors[i].meaning);
    assert_true(code >= 180 || seen_codes[code]);
  }
}

static void
expectations_have_inputs(void **state)
{
  int n = 0, inputs = 0;
  char **names = golden_list("tests/bad", ".err", &n);
  char **specs = golden_list("tests/bad", ".attn.yaml", &inputs);
  (void)state;
  golden_list_free(specs, inputs);
  golden_list_free(names, n);
  assert_int_equal(n, inputs);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_specs_are_refused_in_place),
      cmocka_unit_test(every_error_has_a_bad_spec),
      cmocka_unit_test(expectations_have_inputs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
