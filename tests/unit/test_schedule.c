/* The table of a schedule's fields: every value of every field as text and as JSON, and the
 * struct as callers of other versions hand it over. */
#include "base/arena.h"
#include "base/schedule_json.h"

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

static const char *
written(int field, int value)
{
  Str s = str_new(arena);
  sched_put(&s, field, value, false);
  return s.p;
}

static void
test_values_as_text(void **state)
{
  (void)state;
  for (int i = 0; i < SF_COUNT; i++) {
    const SchedInfo *f = &sched_info[i];
    int back;
    assert_int_equal(sched_find(f->name), i);
    assert_true(f->least >= 1 && f->most <= 4096);
    for (int v = f->least; v <= f->most; v++)
      if (!sched_parse(i, written(i, v), &back) || back != v)
        fail_msg("%s: %d is written %s and read %d", f->name, v, written(i, v), back);
    static const char *const bad[] = {"",     "-1",  "4097",  "1x",  "0x10",
                                      "True", "yes", "grid ", "gri", "persistent exact"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
      if (sched_parse(i, bad[k], &back) || back)
        fail_msg("%s=%s is read as %d", f->name, bad[k], back);
    Str s = str_new(arena);
    sched_allowed(&s, i);
    assert_true(s.n > 0);
  }
  assert_int_equal(sched_find("block"), -1);
  assert_int_equal(sched_find("reserved"), -1);
}

/* An enumeration has a name for each value and none besides; other kinds have none. */
static void
test_names(void **state)
{
  size_t n;
  (void)state;
  for (int i = 0; i < SF_COUNT; i++) {
    const SchedInfo *f = &sched_info[i];
    assert_int_equal(f->names != NULL, f->kind == SK_ENUM);
    if (f->kind == SK_ENUM) {
      assert_non_null(sched_name(i, f->most, &n));
      assert_true(n > 0);
      assert_null(sched_name(i, f->most + 1, &n));
    }
    if (f->kind == SK_BOOL)
      assert_int_equal(f->least * 10 + f->most, 12);
  }
}

static attnc_schedule
filled(int step)
{
  attnc_schedule s = {.size = sizeof s, .template_name = "t"};
  for (int i = 0; i < SF_COUNT; i++) {
    const SchedInfo *f = &sched_info[i];
    *sched_at(&s, i) = f->least + step % (f->most - f->least + 1);
  }
  return s;
}

static void
test_values_as_json(void **state)
{
  (void)state;
  for (int step = 0; step < 20; step++) {
    attnc_schedule s = filled(step), back = {.size = sizeof back};
    Str text = str_new(arena);
    str_put(&text, "{");
    sched_list(&text, &s, true);
    str_put(&text, "}");
    json_t *read = json_loads(text.p, 0, NULL), *made = json_object();
    sched_write_json(made, &s);
    assert_true(json_equal(read, made));
    assert_true(sched_read_json(&back, read));
    back.template_name = s.template_name;
    assert_memory_equal(&s, &back, sizeof s);
    json_decref(read);
    json_decref(made);
  }
}

static void
read_as(const char *json, bool sound, const char *fields)
{
  json_t *j = json_loads(json, 0, NULL);
  attnc_schedule s = {.size = sizeof s};
  Str text = str_new(arena);
  assert_non_null(j);
  assert_int_equal(sched_read_json(&s, j), sound);
  sched_list(&text, &s, false);
  assert_string_equal(text.n ? text.p : "", fields);
  json_decref(j);
}

static void
test_json_of_others(void **state)
{
  (void)state;
  read_as("{}", true, "");
  read_as("{\"q_in_regs\": 2, \"block_m\": 64}", true, "block_m=64 q_in_regs=true");
  read_as("{\"q_in_regs\": 1}", true, "q_in_regs=false");
  read_as("{\"q_in_regs\": 0, \"block_m\": 0}", true, "");
  read_as("{\"block_m\": null, \"scheduler\": null}", true, "");
  read_as("{\"poly_exp2\": 0}", true, "poly_exp2=0");
  read_as("{\"poly_exp2\": 16}", true, "poly_exp2=16");
  read_as("{\"poly_exp2\": 17}", false, "");
  read_as("{\"poly_exp2\": -1}", false, "");
  read_as("{\"poly_exp2\": 9223372036854775807}", false, "");
  read_as("{\"block_m\": 4294967424}", false, "");
  read_as("{\"block_m\": 64.0, \"block_n\": 32}", false, "block_n=32");
  read_as("{\"block_m\": \"64\"}", false, "");
  read_as("{\"block_m\": true}", false, "");
  read_as("{\"q_in_regs\": 3}", false, "");
  read_as("{\"scheduler\": \"fast\"}", false, "");
  read_as("{\"scheduler\": 2}", false, "");
}

/* ---- callers of other versions ---- */

typedef struct First { /* of 40 bytes, four of them padding */
  size_t size;
  const char *template_name;
  int block_m, block_n, num_stages, num_warps, q_in_regs;
} First;

static void
test_the_first_version(void **state)
{
  union {
    First s;
    attnc_schedule room;
  } old;
  attnc_schedule s;
  attnc_error e = {0};
  (void)state;
  memset(&old, 0xa5, sizeof old); /* padding, and what lies behind, is anything */
  old.s.size = sizeof old.s;
  old.s.template_name = "fwd_mma";
  old.s.block_m = 128, old.s.block_n = 64, old.s.num_stages = 2;
  old.s.num_warps = 8, old.s.q_in_regs = 2;
  assert_int_equal(sched_copy(&s, &old.room, &e), ATTNC_OK);
  Str text = str_new(arena);
  sched_list(&text, &s, false);
  assert_string_equal(text.p,
                      "block_m=128 block_n=64 num_stages=2 num_warps=8 q_in_regs=true");
  assert_int_equal(s.size, sizeof s);
  for (size_t n = 0; n < sizeof old.s; n++) {
    old.s.size = n;
    assert_int_equal(sched_copy(&s, &old.room, &e), ATTNC_ERR_USAGE);
  }
  assert_non_null(strstr(e.message, "size is not set"));
}

/* Every version between the first and this one has a prefix of the fields. */
static void
test_versions_between(void **state)
{
  (void)state;
  for (size_t n = sizeof(First); n <= sizeof(attnc_schedule); n += 8) {
    attnc_schedule all = filled(1), s, want = {.size = sizeof want, .template_name = "t"};
    all.size = n;
    assert_int_equal(sched_copy(&s, &all, NULL), ATTNC_OK);
    for (int i = 0; i < SF_COUNT; i++)
      if (sched_info[i].offset + sizeof(int) <= n - sizeof(int))
        *sched_at(&want, i) = sched_get(&all, i);
    assert_memory_equal(&s, &want, sizeof s);
  }
}

static void
test_a_later_version(void **state)
{
  union {
    attnc_schedule s;
    char bytes[sizeof(attnc_schedule) + 16];
  } later = {.bytes = {0}};
  attnc_schedule s;
  attnc_error e = {0};
  (void)state;
  later.s = filled(0);
  later.s.size = sizeof later;
  assert_int_equal(sched_copy(&s, &later.s, &e), ATTNC_OK);
  assert_int_equal(s.private_epilogue, 1);
  later.bytes[sizeof later - 1] = 1; /* padding at its end */
  assert_int_equal(sched_copy(&s, &later.s, &e), ATTNC_OK);
  for (size_t i = offsetof(attnc_schedule, reserved); i < sizeof later - 4; i++) {
    later.bytes[i] = 1;
    assert_int_equal(sched_copy(&s, &later.s, &e), ATTNC_ERR_USAGE);
    assert_non_null(strstr(e.message, "does not know"));
    later.bytes[i] = 0;
  }
}

static void
test_values_out_of_range(void **state)
{
  (void)state;
  for (int i = 0; i < SF_COUNT; i++) {
    const int bad[] = {-1, sched_info[i].most + 1, INT32_MAX, INT32_MIN};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
      attnc_schedule from = {.size = sizeof from}, s;
      attnc_error e = {0};
      *sched_at(&from, i) = bad[k];
      assert_int_equal(sched_copy(&s, &from, &e), ATTNC_ERR_USAGE);
      assert_non_null(strstr(e.message, sched_info[i].name));
    }
  }
}

static void
test_agrees_and_merges(void **state)
{
  attnc_schedule have = filled(0), open = {.size = sizeof open}, want;
  (void)state;
  assert_false(sched_asks(&open));
  assert_true(sched_agrees(&open, &have));
  for (int i = 0; i < SF_COUNT; i++) {
    want = open;
    *sched_at(&want, i) = sched_get(&have, i);
    assert_true(sched_asks(&want) && sched_agrees(&want, &have));
    *sched_at(&want, i) = sched_info[i].most;
    assert_int_equal(sched_agrees(&want, &have), sched_info[i].most == sched_info[i].least);
    sched_merge(&want, &have);
    for (int k = 0; k < SF_COUNT; k++)
      assert_int_equal(sched_get(&want, k),
                       k == i ? sched_info[i].most : sched_get(&have, k));
    assert_string_equal(want.template_name, "t");
  }
  want = (attnc_schedule){.size = sizeof want, .template_name = "u"};
  assert_true(sched_asks(&want));
  assert_false(sched_agrees(&want, &have) || sched_agrees(&want, &open));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values_as_text),    cmocka_unit_test(test_names),
      cmocka_unit_test(test_values_as_json),    cmocka_unit_test(test_json_of_others),
      cmocka_unit_test(test_the_first_version), cmocka_unit_test(test_versions_between),
      cmocka_unit_test(test_a_later_version),   cmocka_unit_test(test_values_out_of_range),
      cmocka_unit_test(test_agrees_and_merges),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
