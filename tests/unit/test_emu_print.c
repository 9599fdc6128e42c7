/* What kernels print: every conversion of CUDA's printf against the host's own, strings
 * from each memory, results, and how the text is handed out. */
#include "emu_kit.h"

#define HEAD                                                                               \
  ".version 7.0\n.target sm_80\n.address_size 64\n"                                        \
  ".extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 a);\n"

/* The buffer: the format, at byte 256 the arguments, at 512 the result of lane 0; lanes of
 * a mask print. */
#define PRINT                                                                              \
  HEAD ".visible .entry k(.param .u64 buffer)\n{\n"                                        \
       ".reg .b32 %r<5>; .reg .b64 %rd<5>; .reg .pred %p<3>;\n"                            \
       "ld.param.u64 %rd1, [buffer];\nadd.u64 %rd2, %rd1, 256;\n"                          \
       "ld.global.u32 %r3, [%rd1+516];\nmov.u32 %r1, %tid.x;\n"                            \
       "shr.u32 %r3, %r3, %r1;\nand.b32 %r3, %r3, 1;\nsetp.eq.u32 %p1, %r3, 0;\n"          \
       "@%p1 ret;\n"                                                                       \
       "{ .param .b64 f; .param .b64 a; .param .b32 r;\n"                                  \
       "st.param.b64 [f], %rd1; st.param.b64 [a], %rd2;\n"                                 \
       "call.uni (r), vprintf, (f, a);\nld.param.b32 %r2, [r]; }\n"                        \
       "st.global.u32 [%rd1+512], %r2;\nret;\n}\n"

enum { BYTES = 1024, ARGUMENTS = 256, RESULT = 512, MASK = 516, TEXT = 640 };

static char buffer[BYTES], said[8192];

static int
print(uint32_t lanes)
{
  memcpy(buffer + MASK, &lanes, 4);
  OK(kit_run(PRINT, 1, 32, 0, buffer, sizeof buffer));
  kit_no_findings();
  assert_true(attncEmuTakeOutput(said, sizeof said) < sizeof said);
  int result;
  memcpy(&result, buffer + RESULT, 4);
  return result;
}

static void
set(const char *format, const void *arguments, size_t n)
{
  memset(buffer, 0, sizeof buffer);
  strcpy(buffer, format);
  memcpy(buffer + ARGUMENTS, arguments, n);
}

static void
test_whole_numbers(void **state)
{
  (void)state;
  static const char *const formats[] = {"%d",    "%i",     "%u",   "%x",   "%X",  "%o",
                                        "%+5d|", "%-8i|",  "%08x", "%#x",  "%#o", "% d",
                                        "%.6d",  "%10.4u", "%hd",  "%hhu", "%c",  "%hhd"};
  static const int values[] = {0, 1, -1, 65, 12345, -70000, INT32_MAX, INT32_MIN};
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      char due[100];
      int value = strstr(formats[f], "c") ? 'A' + (int)v : values[v];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      snprintf(due, sizeof due, formats[f], value);
#pragma GCC diagnostic pop
      set(formats[f], &value, sizeof value);
      assert_int_equal(print(1), 1);
      assert_string_equal(said, due);
    }
}

static void
test_long_ones(void **state)
{
  (void)state;
  int64_t value = -1234567890123456789;
  set("%lld %d", &value, sizeof value);
  memcpy(buffer + ARGUMENTS + 8, &(int){7}, 4);
  assert_int_equal(print(1), 2);
  assert_string_equal(said, "-1234567890123456789 7");
  set("%lx", &value, sizeof value);
  print(1);
  assert_string_equal(said, "eeddef0b82167eeb");
}

static void
test_floats(void **state)
{
  (void)state;
  static const char *const formats[] = {"%f",     "%F",    "%e",     "%E",     "%g",
                                        "%G",     "%a",    "%A",     "%+.3f|", "%12.4e|",
                                        "%-12g|", "%#.0f", "%010.2f"};
  static const double values[] = {0.0, -0.0, 1.5, -2.75e100, 1e-300, 123456.789};
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      char due[400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      snprintf(due, sizeof due, formats[f], values[v]);
#pragma GCC diagnostic pop
      set(formats[f], &values[v], sizeof values[v]);
      assert_int_equal(print(1), 1);
      assert_string_equal(said, due);
    }
}

/* An argument lies at a multiple of its size; * takes one. */
static void
test_a_row_of_arguments(void **state)
{
  (void)state;
  struct {
    int width, a;
    double b;
    int c;
  } args = {6, 42, 2.5, -3};
  set("[%*d] %.1f%% %d %z", &args, sizeof args);
  assert_int_equal(print(1), 4);
  assert_string_equal(said, "[    42] 2.5% -3 %z");
}

static void
test_strings(void **state)
{
  (void)state;
  uint64_t nowhere = 0;
  set("<%s>", &nowhere, sizeof nowhere);
  assert_int_equal(print(1), 1);
  assert_string_equal(said, "<(null)>");
  set("only text, 100%", "", 1);
  assert_int_equal(print(1), 0);
  assert_string_equal(said, "only text, 100%");
}

/* From .const by a generic address, and from the lane's own stack. */
static void
test_strings_of_each_memory(void **state)
{
  (void)state;
  static const char ptx[] =
      HEAD ".global .align 1 .b8 fmt[12] = {37, 53, 115, 124, 37, 46, 50, 115};\n"
           ".const .align 1 .b8 word[4] = {97, 98, 99};\n"
           ".visible .entry k(.param .u64 buffer)\n{\n"
           ".reg .b32 %r<5>; .reg .b64 %rd<9>; .reg .pred %p<3>;\n"
           ".local .align 8 .b8 args[16]; .local .align 1 .b8 own[4];\n"
           "mov.u32 %r1, %tid.x;\nsetp.ne.u32 %p1, %r1, 3;\n@%p1 ret;\n"
           "mov.u64 %rd1, fmt;\ncvta.global.u64 %rd1, %rd1;\n"
           "mov.u64 %rd2, word;\ncvta.const.u64 %rd2, %rd2;\n"
           "mov.u64 %rd3, own;\ncvta.local.u64 %rd3, %rd3;\n"
           "add.u32 %r2, %r1, 48;\nst.local.u8 [own], %r2;\nst.local.u8 [own+1], %r2;\n"
           "st.local.u8 [own+2], %r2;\nst.local.u8 [own+3], 0;\n"
           "st.local.u64 [args], %rd2;\nst.local.u64 [args+8], %rd3;\n"
           "mov.u64 %rd4, args;\ncvta.local.u64 %rd4, %rd4;\n"
           "call (_), vprintf, (%rd1, %rd4);\nret;\n}\n";
  OK(kit_run(ptx, 1, 32, 0, buffer, sizeof buffer));
  kit_no_findings();
  attncEmuTakeOutput(said, sizeof said);
  assert_string_equal(said, "  abc|33");
}

static void
test_lanes_in_turn(void **state)
{
  (void)state;
  set("x\n", "", 1);
  print(0x80000101);
  assert_string_equal(said, "x\nx\nx\n");
}

/* It stays until it fits, and is handed out once. */
static void
test_taking(void **state)
{
  (void)state;
  set("twelve chars", "", 1);
  uint32_t one = 1;
  memcpy(buffer + MASK, &one, 4);
  OK(kit_run(PRINT, 1, 32, 0, buffer, sizeof buffer));
  char small[5] = "?";
  assert_int_equal(attncEmuTakeOutput(small, sizeof small), 12);
  assert_string_equal(small, "");
  assert_int_equal(attncEmuTakeOutput(said, sizeof said), 12);
  assert_string_equal(said, "twelve chars");
  assert_int_equal(attncEmuTakeOutput(said, sizeof said), 0);
  assert_string_equal(said, "");
}

/* A device keeps 1 MB. */
static void
test_too_much(void **state)
{
  (void)state;
  char *text = malloc(2 << 20);
  memset(buffer, 0, sizeof buffer);
  memset(buffer, 'y', 255);
  uint32_t all = 0xffffffff;
  memcpy(buffer + MASK, &all, 4);
  for (int i = 0; i < 129; i++)
    OK(kit_run(PRINT, 1, 32, 0, buffer, sizeof buffer));
  size_t n = attncEmuTakeOutput(text, 2 << 20);
  static const char more[] = "[16 more texts were printed]\n";
  assert_int_equal(n, (129 * 32 - 16) * 255 + sizeof more - 1);
  assert_string_equal(text + n - sizeof more + 1, more);
  free(text);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole_numbers), cmocka_unit_test(test_long_ones),
      cmocka_unit_test(test_floats),        cmocka_unit_test(test_a_row_of_arguments),
      cmocka_unit_test(test_strings),       cmocka_unit_test(test_strings_of_each_memory),
      cmocka_unit_test(test_lanes_in_turn), cmocka_unit_test(test_taking),
      cmocka_unit_test(test_too_much),
  };
  kit_start("arch=sm_80,threads=1");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
