/* Schedules as named values: text, JSON, and the struct as callers of other versions hand
 * it over. */
#include "base/arena.h"
#include "schedule/schedule_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Arena *arena;

static int
setup(void **state)
{
  (void)state;
  arena = arena_new(0);
  return arena == NULL;
}

static int
teardown(void **state)
{
  (void)state;
  arena_free(arena);
  return 0;
}

static Schedule
parsed(const char *text)
{
  Schedule s;
  attnc_error e = {0};
  if (sched_parse(&s, text, &e) != ATTNC_OK)
    fail_msg("%s: %s", text, e.message);
  return s;
}

static const char *
listed(const Schedule *s, bool json)
{
  Str text = str_new(arena);
  sched_list(&text, s, json);
  return text.n ? text.p : "";
}

/* ---- values of a field ---- */

static void
test_values(void **state)
{
  static const SchedField fields[] = {
      {"number", SK_INT, 0, 16, NULL, SCHED_KEEP, "4", ""},
      {"size", SK_INT, 1, 4096, NULL, SCHED_KEEP, "64", ""},
      {"truth", SK_BOOL, 0, 1, NULL, SCHED_KEEP, "true", ""},
      {"word", SK_ENUM, 0, 2, "grid persistent lpt", SCHED_KEEP, "grid", ""},
  };
  static const char *const bad[] = {"",    "-1",   "4097", "1x",  "0x10", " 1",
                                    "+1",  "01",   "True", "yes", "gri",  "persistent lpt",
                                    "- 1", "grid "};
  (void)state;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    const SchedField *f = &fields[i];
    int back;
    for (int v = f->min; v <= f->max; v++) {
      char text[SCHED_VALUE];
      sched_text(f, v, text);
      if (!sched_value(f, text, &back) || back != v)
        fail_msg("%s: %d is written %s and read %d", f->name, v, text, back);
    }
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
      if (sched_value(f, bad[k], &back))
        fail_msg("%s=%s is read as %d", f->name, bad[k], back);
  }
  int value;
  assert_false(sched_value(&fields[1], "0", &value));
  assert_true(sched_value(&fields[0], "0", &value));
}

/* ---- named values ---- */

static void
test_set_and_get(void **state)
{
  Schedule s = {.n = 0};
  (void)state;
  assert_false(sched_is_set(&s));
  assert_true(sched_set(&s, "intra_wg_overlap", "true"));
  assert_true(sched_set(&s, "block_m", "128"));
  assert_true(sched_set(&s, "prefill.block_m", "64"));
  assert_true(sched_set(&s, "intra_wg_overlap", "false"));
  assert_string_equal(listed(&s, false),
                      "block_m=128 intra_wg_overlap=false prefill.block_m=64");
  assert_string_equal(sched_get(&s, "intra_wg_overlap"), "false");
  assert_int_equal(sched_int(&s, "block_m"), 128);
  assert_int_equal(sched_int(&s, "block_n"), 0);
  assert_null(sched_get(&s, "block"));
  assert_true(sched_is_set(&s));
  static const char *const bad[][2] = {{"", "1"},
                                       {"a", ""},
                                       {"A", "1"},
                                       {"a b", "1"},
                                       {"a", "1 "},
                                       {"a", "1,b"},
                                       {"a", "\""},
                                       {"a", "x\ny"},
                                       {"abcdefghijklmnopqrstuvwxyz012345", "1"},
                                       {"a", "123456789012345678901234"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(sched_set(&s, bad[i][0], bad[i][1]));
  assert_int_equal(s.n, 3);
}

/* Full is full, and what is there can still be changed. */
static void
test_room(void **state)
{
  Schedule s = {.n = 0};
  (void)state;
  for (int i = 0; i < SCHED_MAX; i++)
    assert_true(sched_set(&s, arena_printf(arena, "f%d", i), "1"));
  assert_false(sched_set(&s, "more", "1"));
  assert_true(sched_set(&s, "f7", "2"));
  assert_int_equal(sched_int(&s, "f7"), 2);
  for (int i = 1; i < s.n; i++)
    assert_true(strcmp(s.at[i - 1].name, s.at[i].name) < 0);
}

static void
test_text(void **state)
{
  static const char *const bad[] = {
      "",        "block_m", "block_m=", "=3",        "block_m=1,", ",block_m=1",
      "a=1,a=1", "a=1 b=2", "a==1",     "template=", "template=X", "template=a,template=b"};
  attnc_error e = {0};
  Schedule s = parsed("template=fwd_mma,num_warps=4,block_m=128,scheduler=grid");
  (void)state;
  assert_string_equal(s.template_name, "fwd_mma");
  assert_string_equal(listed(&s, false), "block_m=128 num_warps=4 scheduler=grid");
  assert_string_equal(listed(&s, true),
                      "\"block_m\":128,\"num_warps\":4,\"scheduler\":\"grid\"");
  Str again = str_new(arena);
  sched_write(&again, &s);
  assert_string_equal(again.p, "template=fwd_mma,block_m=128,num_warps=4,scheduler=grid");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (sched_parse(&s, bad[i], &e) != ATTNC_ERR_USAGE)
      fail_msg("accepted: %s", bad[i]);
}

static void
test_json(void **state)
{
  Schedule s = parsed("template=t,a=1,b=true,c=false,d=grid,e=-3,f=0"), back = {.n = 0};
  (void)state;
  json_t *made = json_object();
  sched_write_json(made, &s);
  json_t *read = json_loads(
      arena_printf(arena, "{\"template\": \"t\", %s}", listed(&s, true)), 0, NULL);
  assert_true(json_equal(made, read));
  json_object_set_new(made, "shared", json_integer(7)); /* as attnc_schedules has it */
  json_object_set_new(made, "cost", json_real(1.5));
  json_object_set_new(made, "open", json_null());
  assert_true(sched_read_json(&back, made));
  assert_memory_equal(&s, &back, sizeof s);
  json_decref(made);
  json_decref(read);
  static const char *const bad[] = {"{\"a\": 1.5}",
                                    "{\"a\": [1]}",
                                    "{\"a\": \"x y\"}",
                                    "{\"A\": 1}",
                                    "{\"template\": \"a b\"}",
                                    "{\"a\": \"0123456789012345678901234\"}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *j = json_loads(bad[i], 0, NULL);
    assert_non_null(j);
    if (sched_read_json(&back, j))
      fail_msg("accepted: %s", bad[i]);
    json_decref(j);
  }
}

static void
test_agrees_and_merges(void **state)
{
  Schedule have = parsed("template=t,a=1,b=true"), open = {.n = 0}, want;
  (void)state;
  assert_true(sched_agrees(&open, &have));
  assert_true(sched_agrees(&have, &have));
  want = parsed("a=1");
  assert_true(sched_agrees(&want, &have));
  want = parsed("a=2");
  assert_false(sched_agrees(&want, &have));
  sched_merge(&want, &have);
  assert_string_equal(listed(&want, false), "a=2 b=true");
  assert_string_equal(want.template_name, "t");
  want = parsed("c=1");
  assert_false(sched_agrees(&want, &have));
  want = parsed("template=u");
  assert_false(sched_agrees(&want, &have) || sched_agrees(&want, &open));
}

/* ---- the public struct ---- */

static void
test_struct(void **state)
{
  char options[SCHED_TEXT];
  Schedule s = parsed("template=t,block_m=128,num_warps=4,intra_wg_overlap=true,cluster=2"),
           back;
  attnc_schedule out = sched_struct(&s, options);
  (void)state;
  assert_string_equal(out.template_name, "t");
  assert_int_equal(out.block_m, 128);
  assert_int_equal(out.block_n, 0);
  assert_string_equal(out.options, "cluster=2,intra_wg_overlap=true");
  assert_int_equal(sched_read(&back, &out, NULL), ATTNC_OK);
  assert_memory_equal(&s, &back, sizeof s);
  Schedule odd = parsed("block_m=x,num_warps=0"); /* is not lost */
  out = sched_struct(&odd, options);
  assert_int_equal(sched_read(&back, &out, NULL), ATTNC_OK);
  assert_memory_equal(&odd, &back, sizeof odd);
  Schedule none = {.n = 0};
  out = sched_struct(&none, options);
  assert_null(out.template_name);
  assert_int_equal(sched_read(&back, &out, NULL), ATTNC_OK);
  assert_false(sched_is_set(&back));
}

/* A fully loaded schedule fits into the text. */
static void
test_longest_struct(void **state)
{
  static char options[SCHED_TEXT];
  Schedule s = {.n = 0}, back;
  (void)state;
  for (int i = 0; i < SCHED_MAX; i++)
    sched_set(&s, arena_printf(arena, "abcdefghijklmnopqrstuvwxyz_%04d", i),
              "12345678901234567890123");
  assert_int_equal(s.n, SCHED_MAX);
  attnc_schedule out = sched_struct(&s, options);
  assert_int_equal(sched_read(&back, &out, NULL), ATTNC_OK);
  assert_memory_equal(&s, &back, sizeof s);
}

static void
refused(attnc_schedule s, const char *says)
{
  Schedule out;
  attnc_error e = {0};
  s.size = sizeof s;
  assert_true(sched_read(&out, &s, &e) != ATTNC_OK);
  if (!strstr(e.message, says))
    fail_msg("%s", e.message);
}

static void
test_bad_structs(void **state)
{
  Schedule out;
  attnc_error e = {0};
  attnc_schedule s = {.block_m = 64};
  (void)state;
  for (s.size = 0; s.size < sizeof s; s.size++)
    assert_int_equal(sched_read(&out, &s, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "size is not set"));
  refused((attnc_schedule){.block_m = -64}, "block_m is -64");
  refused((attnc_schedule){.num_warps = INT32_MIN}, "num_warps is");
  refused((attnc_schedule){.options = "intra_wg_overlap"},
          "'intra_wg_overlap' is not name=value");
  refused((attnc_schedule){.options = "a=1,"}, "'' is not name=value");
  refused((attnc_schedule){.block_m = 64, .options = "block_m=64"},
          "'block_m' is given twice");
  refused((attnc_schedule){.template_name = "Fwd"}, "no template 'Fwd'");
  refused((attnc_schedule){.template_name = "t", .options = "template=t"}, "given twice");
}

/* A caller of a later version is served as long as it sets nothing that is unknown. */
static void
test_a_later_version(void **state)
{
  union {
    attnc_schedule s;
    char bytes[sizeof(attnc_schedule) + 16];
  } later = {.bytes = {0}};
  Schedule out;
  attnc_error e = {0};
  (void)state;
  later.s = (attnc_schedule){
      .size = sizeof later, .block_m = 64, .options = "intra_wg_overlap=true"};
  assert_int_equal(sched_read(&out, &later.s, &e), ATTNC_OK);
  assert_int_equal(out.n, 2);
  for (size_t i = sizeof(attnc_schedule); i < sizeof later; i++) {
    later.bytes[i] = 1;
    assert_int_equal(sched_read(&out, &later.s, &e), ATTNC_ERR_USAGE);
    assert_non_null(strstr(e.message, "does not know"));
    later.bytes[i] = 0;
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),      cmocka_unit_test(test_set_and_get),
      cmocka_unit_test(test_room),        cmocka_unit_test(test_text),
      cmocka_unit_test(test_json),        cmocka_unit_test(test_agrees_and_merges),
      cmocka_unit_test(test_struct),      cmocka_unit_test(test_longest_struct),
      cmocka_unit_test(test_bad_structs), cmocka_unit_test(test_a_later_version),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
