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
  static const int known[][2] = {{63, 10000}, {65, 10020}, {70, 11000}, {74, 11040},
                                 {78, 11080}, {80, 12000}, {85, 12050}, {86, 12070},
                                 {88, 12090}, {90, 13000}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_int_equal(ptx_driver(known[i][0]), known[i][1]);
  static const int none[] = {0, 62, 69, 79, 89, 91, 700};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_int_equal(ptx_driver(none[i]), 0);
  for (int v = 63; v < 90; v++) /* a later version never takes an older driver */
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

#define HASH "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void
marks_are_found(void **state)
{
  static const struct {
    const char *text, *how; /* NULL: no mark */
  } cases[] = {
      {"// attnc mark " HASH " template=x,block_m=64\n.version 7.0\n",
       "template=x,block_m=64"},
      {"// attnc mark " HASH "\n", ""},
      {"// attnc mark " HASH, ""},
      {"//attnc mark " HASH " x y\r\n", "x y"},
      {"; attnc mark " HASH " x\ndefine", "x"},
      {"\n\n// by hand\n\t// attnc mark " HASH " x\n", "x"},
      {"", NULL},
      {"// attnc mark", NULL},
      {"// attnc mark 0123\n", NULL},
      {"// attnc mark " HASH "0\n", NULL},
      {"// attnc mark A" HASH "\n", NULL},
      {"attnc mark " HASH "\n", NULL},
      {".version 7.0\n// attnc mark " HASH "\n", NULL},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char hash[PTX_MARK + 1];
    const char *how = NULL;
    size_t n = 0;
    bool found = ptx_mark(cases[i].text, hash, &how, &n);
    if (found != (cases[i].how != NULL))
      fail_msg("%s", cases[i].text);
    if (!found)
      continue;
    assert_string_equal(hash, HASH);
    assert_int_equal(n, strlen(cases[i].how));
    assert_memory_equal(how, cases[i].how, n);
    assert_true(ptx_mark(cases[i].text, hash, NULL, NULL));
  }
}

static void
parameters_are_counted(void **state)
{
  static const struct {
    const char *text;
    int n;
    unsigned bytes[4];
  } cases[] = {
      {".visible .entry k(.param .u64 a, .param .u32 b, .param .f32 c)\n{", 3, {8, 4, 4}},
      {".entry k(\n\t.param .align 64 .b8 map[128],\n\t.param .b64 x\n)", 2, {128, 8}},
      {".entry k ( .param .u64 .ptr .global .align 16 a[1] )", 1, {8}},
      {".entry k(.param .align 16 .b32 a[4], .param .b8 b[0])", 2, {16, 0}},
      {".entry k() .reqntid 32", 0, {0}},
      {".entry k\n{ ret; }", 0, {0}},
      {"/* .entry k(.param .u64 a) */ .entry k(/*,*/.param .u32 /* .param */ a)", 1, {4}},
      {"// .entry k()\n.file \".entry k()\"\n.entry kk(.param .u64 a) {}\n.entry k(.param "
       ".s16 a) {}",
       1,
       {2}},
      {".entry k(.param .u64 a, .param", 2, {8, 0}},
      {".entry k(.param .texref a)", 1, {0}},
      {".entry k(.param .b99999999999999999999 a, .param .b64 b[99999999999999])", 2, {0}},
      {"", -1, {0}},
      {".entry", -1, {0}},
      {".entry kk(.param .u64 a)", -1, {0}},
      {".entri k(.param .u64 a)", -1, {0}},
      {"/* .entry k()", -1, {0}},
      {".func k(.param .u64 a)", -1, {0}},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned bytes[4] = {77, 77, 77, 77};
    int n = ptx_params(cases[i].text, "k", bytes, 4);
    if (n != cases[i].n)
      fail_msg("%s: %d", cases[i].text, n);
    for (int j = 0; j < n && j < 2; j++)
      if (cases[i].bytes[0])
        assert_int_equal(bytes[j], cases[i].bytes[j]);
  }
  unsigned one[2] = {0, 77}; /* more than there is room for are counted */
  assert_int_equal(ptx_params(".entry k(.param .u64 a, .param .u32 b)", "k", one, 1), 2);
  assert_int_equal(one[0], 8);
  assert_int_equal(one[1], 77);
}

static void
versions_of_texts(void **state)
{
  (void)state;
  assert_int_equal(ptx_text_version("// .version 9.0\n.version 8.5\n.target sm_80"), 85);
  assert_int_equal(ptx_text_version(".version 80\n"), 0);
  assert_int_equal(ptx_text_version(".version"), 0);
  assert_int_equal(ptx_text_version("garbage"), 0);
  assert_int_equal(ptx_text_version(""), 0);
}

static void
pairs_are_checked(void **state)
{
  static const char text[] = "// attnc mark " HASH " template=x\n"
                             ".entry k(.param .u64 a, .param .u32 b) { ret; }";
  static const unsigned right[] = {8, 4, 4}, wrong[] = {8, 8};
  PtxPair pair = {.text = text, .what = "edited.ptx", .bad = ATTNC_ERR_IO};
  attnc_error e = {0};
  (void)state;
  assert_int_equal(ptx_check_mark(&pair, HASH, &e), ATTNC_OK);
  assert_int_equal(ptx_check_mark(&pair, "another", &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "edited.ptx: is not the text of this recipe"));
  assert_non_null(strstr(e.message, "--schedule template=x;"));
  assert_int_equal(ptx_check_entry(&pair, "k", right, 2, &e), ATTNC_OK);
  assert_int_equal(ptx_check_entry(&pair, "k", right, 1, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "entry k has 2 parameters, the recipe gives it 1"));
  assert_int_equal(ptx_check_entry(&pair, "k", right, 3, &e), ATTNC_ERR_IO);
  assert_int_equal(ptx_check_entry(&pair, "k", wrong, 2, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "parameter 1 of entry k has 4 bytes"));
  assert_int_equal(ptx_check_entry(&pair, "other", right, 2, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "has no entry other"));
  pair.text = strchr(text, '\n');
  assert_int_equal(ptx_check_mark(&pair, HASH, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "does not begin with the mark"));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(drivers_of_versions), cmocka_unit_test(versions_are_read),
      cmocka_unit_test(marks_are_found),     cmocka_unit_test(parameters_are_counted),
      cmocka_unit_test(pairs_are_checked),   cmocka_unit_test(versions_of_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
