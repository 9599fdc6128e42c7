#include "tests/unit/rt.h"

#include "base/hash.h"
#include "schedule/schedule.h"
#include "runtime/jsonl.h"
#include "runtime/tunetab.h"

#include <sys/stat.h>
#include <sys/wait.h>

#define H200 "NVIDIA H200 (test/1)"

static char *dir;
static char file[600]; /* of the table */
static TuneTable *table;

static const char *
path_of(const char *device)
{
  static char path[600];
  Arena *arena = arena_new(0);
  snprintf(path, sizeof path, "%s", tune_path(table, device, ".jsonl", arena));
  arena_free(arena);
  return path;
}

static TuneTable *
opened(TuneConfig config)
{
  TuneTable *t = NULL;
  attnc_error e = {0};
  if (tune_open(&config, &t, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return t;
}

static int
setup(void **state)
{
  (void)state;
  dir = rt_scratch();
  table = opened((TuneConfig){.dir = dir});
  snprintf(file, sizeof file, "%s", path_of(H200));
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  tune_close(table);
  rt_remove(dir);
  return 0;
}

static TuneProblem
problem(int64_t b, int64_t h, int64_t sq, int64_t sk)
{
  return (TuneProblem){
      "abc",
      "fwd",
      "mine",
      {.size = sizeof(attnc_sizes), .b = b, .h = h, .hk = h, .sq = sq, .sk = sk},
      {H200, 90, 132, false}};
}

static Schedule
schedule(const char *text)
{
  Schedule s;
  assert_int_equal(sched_parse(&s, text, NULL), ATTNC_OK);
  return s;
}

static void
record_level(const TuneProblem *p, int block_m, double value, int level)
{
  char text[128];
  snprintf(text, sizeof text,
           "template=fwd_mma,block_m=%d,block_n=64,num_stages=2,num_warps=4,q_in_regs=true",
           block_m);
  Schedule s = schedule(text);
  attnc_error e = {0};
  if (tune_record(table, p, &s, &(TuneMeasure){value, "ms", level}, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
}

static void
record_value(const TuneProblem *p, int block_m, double value)
{
  record_level(p, block_m, value, ATTNC_TUNE_MEASURE);
}

static void
record(const TuneProblem *p, int block_m)
{
  record_value(p, block_m, 0.5);
}

/* What a test knows: no `lanes`. */
static bool
known(void *user, const TuneFound *found)
{
  (void)user;
  return !sched_get(&found->schedule, "lanes");
}

/* "exact 128", "near 64", "": what the table says. */
static const char *
find(TuneProblem p)
{
  static char text[64];
  TuneFound f;
  text[0] = 0;
  if (tune_find(table, &p, known, NULL, &f)) {
    assert_string_equal(f.schedule.template_name, "fwd_mma");
    assert_int_equal(sched_int(&f.schedule, "block_n"), 64);
    assert_int_equal(sched_int(&f.schedule, "num_stages"), 2);
    assert_int_equal(sched_int(&f.schedule, "num_warps"), 4);
    assert_string_equal(sched_get(&f.schedule, "q_in_regs"), "true");
    snprintf(text, sizeof text, "%s %d", f.source, sched_int(&f.schedule, "block_m"));
  }
  return text;
}

static void
test_buckets(void **state)
{
  int bucket[3];
  attnc_sizes s = {.size = sizeof s, .b = 4, .h = 32, .hk = 8, .sq = 4096, .sk = 0};
  (void)state;
  tune_bucket(&s, bucket);
  assert_int_equal(bucket[0], 7);
  assert_int_equal(bucket[1], 12);
  assert_int_equal(bucket[2], TUNE_UNKNOWN);
  s.sq = 5792; /* just below the square root of two times 4096 */
  s.sk = 5793;
  tune_bucket(&s, bucket);
  assert_int_equal(bucket[1], 12);
  assert_int_equal(bucket[2], 13);
  s.sq = 1;
  tune_bucket(&s, bucket);
  assert_int_equal(bucket[1], 0);
}

/* What less was tried for replaces nothing, be it faster, later, or the same schedule. */
static void
test_levels(void **state)
{
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096), near = problem(2, 16, 2048, 4096);
  record_level(&p, 32, 0.9, ATTNC_TUNE_ESTIMATE);
  assert_string_equal(find(p), "exact 32");
  record_level(&p, 64, 1.0, ATTNC_TUNE_EXHAUSTIVE);
  assert_string_equal(find(p), "exact 64");
  record_level(&p, 32, 0.5, ATTNC_TUNE_PATIENT);
  record_level(&p, 64, 9.0, ATTNC_TUNE_MEASURE);
  assert_string_equal(find(p), "exact 64");
  assert_string_equal(find(near), "near 64");
  record_level(&near, 128, 1.0, ATTNC_TUNE_ESTIMATE);
  assert_string_equal(find(near), "exact 128"); /* the nearest first */
  assert_string_equal(find(p), "exact 64");
  record_level(&p, 64, 2.0, ATTNC_TUNE_EXHAUSTIVE);
  record_level(&p, 128, 1.5, ATTNC_TUNE_EXHAUSTIVE);
  assert_string_equal(find(p), "exact 128");
}

static void
test_find(void **state)
{
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096), other = p;
  assert_string_equal(find(p), "");
  record(&p, 128);
  assert_string_equal(find(p), "exact 128");
  assert_string_equal(find(problem(4, 8, 4000, 4200)), "exact 128");
  assert_string_equal(find(problem(2, 16, 2048, 8192)), "near 128");
  assert_string_equal(find(problem(2, 16, 256, 4096)), "near 128"); /* four octaves */
  assert_string_equal(find(problem(2, 16, 128, 4096)), "");         /* five */
  assert_string_equal(find(problem(0, 0, 0, 0)), "near 128");       /* open: never exact */
  assert_string_equal(find(problem(2, 16, 4096, 0)), "near 128");
  other.spec_hash = "abd";
  assert_string_equal(find(other), "");
  other = p;
  other.op = "bwd";
  assert_string_equal(find(other), "");
  TuneProblem far = problem(2, 16, 1024, 1024);
  record(&far, 64);
  assert_string_equal(find(problem(2, 16, 1100, 1000)), "exact 64");
  assert_string_equal(find(problem(2, 16, 2048, 1024)), "near 64");
  record(&p, 96); /* the last one counts */
  assert_string_equal(find(p), "exact 96");
}

static void
test_another_device_has_its_own(void **state)
{
  (void)state;
  TuneFound f;
  TuneProblem p = problem(2, 16, 4096, 4096);
  record(&p, 128);
  p.device = (TuneDevice){"attnc emulated sm_80", 80, 108, true};
  assert_false(tune_find(table, &p, NULL, NULL, &f));
  assert_string_not_equal(path_of(p.device.name), file);
  /* A name that makes the same file does not share its lines. */
  p.device = (TuneDevice){"NVIDIA H200 (test?1)", 80, 132, false};
  assert_string_equal(path_of(p.device.name), file);
  assert_false(tune_find(table, &p, NULL, NULL, &f));
}

static void
append(const char *text)
{
  FILE *f = fopen(file, "a");
  fputs(text, f);
  fclose(f);
}

static void
test_unsound_lines_are_skipped(void **state)
{
  char line[4096] = "";
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  record(&p, 128);
  FILE *f = fopen(file, "r");
  assert_non_null(fgets(line, sizeof line, f));
  fclose(f);
  /* Each byte changed: the first line's schedule, or none. */
  for (size_t i = 0; line[i] != '\n'; i++) {
    char was = line[i];
    line[i] = was == '6' ? '7' : '6';
    f = fopen(file, "w");
    fputs(line, f);
    fclose(f);
    TuneTable *t = opened((TuneConfig){.dir = dir});
    TuneFound found;
    assert_false(tune_find(t, &p, NULL, NULL, &found));
    tune_close(t);
    line[i] = was;
  }
  f = fopen(file, "w");
  fputs(line, f);
  fclose(f);
  append("\n\nnot json\n{\"schema\":\"attnc.tune/1\"}\n{\"a\":");
  assert_string_equal(find(p), "exact 128");
  record(&p, 64); /* after a torn line: on a line of its own */
  assert_string_equal(find(p), "exact 64");
}

/* A line as another version wrote it, with this schedule. */
static void
append_schedule(const char *schedule)
{
  char text[1024], hex[65], line[1100];
  int n = snprintf(text, sizeof text,
                   "{\"schema\":\"attnc.tune/1\",\"device\":\"NVIDIA H200 (test/1)\","
                   "\"spec_hash\":\"abc\",\"op\":\"fwd\",\"bucket\":[5,12,12],"
                   "\"schedule\":%s,\"value\":0.5,\"unit\":\"ms\",\"validity\":\"correct\"",
                   schedule);
  assert_true(n < (int)sizeof text);
  sha256_hex(text, (size_t)n, hex);
  snprintf(line, sizeof line, "%s,\"sum\":\"%.16s\"}\n", text, hex);
  append(line);
}

static void
test_lines_of_other_versions(void **state)
{
  static const char *const later[] = {
      "{\"template\":\"fwd_mma\",\"block_m\":64,\"lanes\":4}",
      "{\"template\":\"fwd_mma\",\"block_m\":64,\"ratio\":1.5}",
      "{\"template\":\"fwd_mma\",\"block_m\":64,\"tiles\":[1]}",
      "{\"template\":\"\",\"block_m\":64}",
      "{\"block_m\":64}",
      "{\"template\":\"a template with blanks\",\"block_m\":64}",
  };
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  /* As it was written when all fields were members of attnc_schedule. */
  append_schedule("{\"template\":\"fwd_mma\",\"block_m\":96,\"block_n\":64,"
                  "\"num_stages\":2,\"num_warps\":4,\"q_in_regs\":true}");
  assert_string_equal(find(p), "exact 96");
  for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
    append_schedule(later[i]);
    assert_string_equal(find(p), "exact 96"); /* never half of a schedule */
  }
}

static void
test_every_field_is_kept(void **state)
{
  Schedule s =
      schedule("template=fwd_wgmma,block_m=128,intra_wg_overlap=true,pingpong=false,"
               "scheduler=lpt,poly_exp2=0,cluster=2,prefill.block_n=64");
  TuneFound f;
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  assert_int_equal(
      tune_record(table, &p, &s, &(TuneMeasure){0.5, "ms", ATTNC_TUNE_MEASURE}, NULL),
      ATTNC_OK);
  assert_true(tune_find(table, &p, NULL, NULL, &f));
  assert_memory_equal(&s, &f.schedule, sizeof s);
}

static void
test_two_processes_append(void **state)
{
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  enum { CHILDREN = 4, LINES = 25 };
  for (int c = 0; c < CHILDREN; c++)
    if (fork() == 0) {
      for (int i = 0; i < LINES; i++)
        record(&p, 16 * (c + 1));
      _exit(0);
    }
  for (int c = 0, status; c < CHILDREN; c++) {
    wait(&status);
    assert_int_equal(status, 0);
  }
  /* Whole lines, every one; an empty one more is what a line leaves that was seen half. */
  char line[4096];
  FILE *f = fopen(file, "r");
  int lines = 0;
  while (fgets(line, sizeof line, f))
    if (strcmp(line, "\n") != 0) {
      assert_int_equal(strncmp(line, "{\"schema\":", 10), 0);
      assert_string_equal(line + strlen(line) - 3, "\"}\n");
      lines++;
    }
  fclose(f);
  assert_int_equal(lines, CHILDREN * LINES);
  assert_string_not_equal(find(p), "");
}

static bool
not_64(void *user, const TuneFound *f)
{
  ++*(int *)user;
  return sched_int(&f->schedule, "block_m") != 64;
}

/* The least value counts, whatever came last; a schedule's own later record replaces its
 * earlier; values of different sizes are compared for the work; and the caller may refuse.
 */
static void
test_the_best_counts(void **state)
{
  TuneFound f;
  int asked = 0;
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  record_value(&p, 128, 0.4);
  record_value(&p, 64, 0.6);
  assert_string_equal(find(p), "exact 128");
  record_value(&p, 64, 0.3);
  assert_string_equal(find(p), "exact 64");
  record_value(&p, 64, 0.5);
  assert_string_equal(find(p), "exact 128");
  TuneProblem smaller = problem(2, 16, 3000, 3000); /* 0.54 of the work, 0.5 of the time */
  record_value(&smaller, 32, 0.39);
  assert_string_equal(find(p), "exact 128");
  record_value(&smaller, 32, 0.2);
  assert_string_equal(find(p), "exact 32");
  record_value(&p, 64, 0.1);
  assert_true(tune_find(table, &p, not_64, &asked, &f));
  assert_int_equal(sched_int(&f.schedule, "block_m"), 32);
  assert_int_equal(asked, 2);
}

static char told[10][512];
static int n_told;

static void
on_told(void *user, const char *message)
{
  assert_ptr_equal(user, told);
  snprintf(told[n_told++ % 10], sizeof told[0], "%s", message);
}

/* Lines that are sound but cannot be: skipped, and told with their number and why. */
static void
test_absurd_lines_are_skipped(void **state)
{
  static const char *const lines[] = {
      "\"bucket\":[5,12,2147483647],\"value\":0.1",
      "\"bucket\":[-2147483648,12,12],\"value\":0.1",
      "\"bucket\":[5,12,1.5],\"value\":0.1",
      "\"bucket\":[5,12,127],\"value\":0.1",
      "\"bucket\":[5,12,12],\"value\":-0.1",
      "\"bucket\":[5,12,12],\"value\":\"0.1\"",
      "\"bucket\":[5,12,12],\"value\":0",
  };
  enum { LINES = sizeof lines / sizeof *lines };
  char text[1024], hex[65], line[1100];
  (void)state;
  tune_close(table);
  table = opened((TuneConfig){.dir = dir, .told = {on_told, told}});
  n_told = 0;
  TuneProblem p = problem(2, 16, 4096, 4096);
  for (int i = 0; i < LINES; i++) {
    int n = snprintf(text, sizeof text,
                     "{\"schema\":\"attnc.tune/1\",\"device\":\"NVIDIA H200 (test/1)\","
                     "\"spec_hash\":\"abc\",\"op\":\"fwd\",%s,"
                     "\"schedule\":{\"template\":\"fwd_mma\",\"block_m\":64},"
                     "\"unit\":\"ms\",\"validity\":\"correct\"",
                     lines[i]);
    sha256_hex(text, (size_t)n, hex);
    snprintf(line, sizeof line, "%s,\"sum\":\"%.16s\"}\n", text, hex);
    append(line);
  }
  append("edited by hand\n");
  assert_string_equal(find(p), "");
  assert_int_equal(n_told, LINES + 1);
  assert_non_null(strstr(told[0], ".jsonl:1 is skipped: the bucket is not one"));
  assert_non_null(strstr(told[4], ".jsonl:5 is skipped: the value is not a number above"));
  assert_non_null(strstr(told[LINES], "its checksum is not that of its text"));
}

/* A FIFO in a table's place is an empty table, and is not written to. */
static void
test_a_fifo_is_no_table(void **state)
{
  attnc_error e = {0};
  (void)state;
  TuneProblem p = problem(2, 16, 4096, 4096);
  Schedule s = schedule("template=fwd_mma");
  assert_int_equal(mkfifo(file, 0600), 0);
  alarm(30);
  assert_string_equal(find(p), "");
  assert_int_equal(
      tune_record(table, &p, &s, &(TuneMeasure){0.5, "ms", ATTNC_TUNE_MEASURE}, &e),
      ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "not a regular file"));
  alarm(0);
}

static void
test_a_directory_that_cannot_be_made(void **state)
{
  attnc_error e = {0};
  Schedule s = schedule("template=fwd_mma,block_m=64");
  TuneFound f;
  TuneProblem p = problem(1, 1, 128, 128);
  (void)state;
  TuneTable *t = opened((TuneConfig){.dir = "/dev/null/tune"});
  assert_false(tune_find(t, &p, NULL, NULL, &f));
  assert_int_equal(tune_record(t, &p, &s, &(TuneMeasure){1, "ms", ATTNC_TUNE_MEASURE}, &e),
                   ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "/dev/null"));
  tune_close(t);
  tune_close(NULL);
}

/* ---- layers ---- */

static char *
text_of(const char *path)
{
  static char text[1 << 16];
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  return text;
}

/* The table's directory becomes one that is only read, and another the user's. */
static char *
move_up(const char *second)
{
  char both[1200];
  char *user = rt_scratch();
  snprintf(both, sizeof both, "%s:%s", dir, second);
  tune_close(table);
  table = opened((TuneConfig){.dir = user, .readonly = both});
  return user;
}

static void
test_layers_are_one_table(void **state)
{
  TuneProblem p = problem(2, 16, 4096, 4096);
  (void)state;
  record_level(&p, 64, 0.5, ATTNC_TUNE_PATIENT);
  record_level(&p, 128, 0.7, ATTNC_TUNE_PATIENT);
  char *user = move_up("/nowhere");
  assert_string_equal(find(p), "exact 64");
  record_level(&p, 128, 0.4, ATTNC_TUNE_MEASURE); /* less was tried for it */
  assert_string_equal(find(p), "exact 64");
  record_level(&p, 64, 0.8, ATTNC_TUNE_PATIENT); /* replaces the system's */
  assert_string_equal(find(p), "exact 128");
  record_level(&p, 32, 0.6, ATTNC_TUNE_PATIENT);
  assert_string_equal(find(p), "exact 32");
  /* As one file, which is pinned, it says the same. */
  char pinned[600];
  snprintf(pinned, sizeof pinned, "%s/pinned", user);
  FILE *f = fopen(pinned, "w");
  fputs(text_of(file), f);
  fputs(text_of(path_of(H200)), f);
  fclose(f);
  TuneTable *other = table;
  table = opened((TuneConfig){.dir = user, .pinned = pinned});
  assert_string_equal(find(p), "exact 32");
  f = fopen(pinned, "w"); /* what is there later changes nothing */
  fclose(f);
  assert_string_equal(find(p), "exact 32");
  attnc_error e = {0};
  Schedule s = schedule("template=fwd_mma");
  assert_int_equal(tune_record(table, &p, &s, &(TuneMeasure){1, "ms", 1}, &e),
                   ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "is pinned to"));
  assert_int_equal(strlen(tune_pinned_hash(table)), 64);
  tune_close(other);
  rt_remove(user);
  TuneTable *none = NULL;
  assert_int_equal(tune_open(&(TuneConfig){.pinned = "/nowhere"}, &none, &e), ATTNC_ERR_IO);
  assert_null(none);
}

/* A line that forgets hides those above it, of the layers below as well, and no others. */
static void
test_forget(void **state)
{
  TuneProblem p = problem(2, 16, 4096, 4096), q = problem(2, 16, 1024, 1024);
  attnc_error e = {0};
  (void)state;
  record(&p, 64);
  record(&q, 32);
  char *user = move_up("");
  record(&p, 128);
  assert_int_equal(jsonl_append(path_of(H200), tune_line_forget(H200, "abc", &p.sizes), &e),
                   ATTNC_OK);
  assert_string_equal(find(p), "near 32");
  record(&p, 96);
  assert_string_equal(find(p), "exact 96");
  assert_int_equal(jsonl_append(path_of(H200), tune_line_forget("another", NULL, NULL), &e),
                   ATTNC_OK);
  assert_int_equal(jsonl_append(path_of(H200), tune_line_forget(H200, "abd", NULL), &e),
                   ATTNC_OK);
  assert_string_equal(find(p), "exact 96");
  assert_int_equal(jsonl_append(path_of(H200), tune_line_forget(H200, NULL, NULL), &e),
                   ATTNC_OK);
  assert_string_equal(find(p), "");
  assert_string_equal(find(q), "");
  rt_remove(user);
}

/* Another device's record counts where its multiprocessors had as much to do. */
static void
test_family(void **state)
{
  TuneProblem big = problem(2, 64, 4096, 4096), small = problem(1, 64, 4096, 4096);
  (void)state;
  record_value(&small, 64, 0.5);
  record_value(&big, 128, 0.5);
  small.device = (TuneDevice){"half a Hopper", 90, 66, false};
  assert_string_equal(find(small), "family 128"); /* twice the heads on twice as many */
  big.device = small.device;
  assert_string_equal(find(big), "family 128"); /* an octave away */
  TuneProblem other = small;
  other.device.capability = 80;
  assert_string_equal(find(other), "");
  other.device = (TuneDevice){"emulated", 90, 66, true};
  assert_string_equal(find(other), "");
  other.device = (TuneDevice){"unknown", 90, 0, false};
  assert_string_equal(find(other), "");
  TuneProblem near = problem(1, 64, 1024, 4096); /* its own comes first, however far */
  near.device = small.device;
  record_value(&near, 32, 9);
  assert_string_equal(find(small), "near 32");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      cmocka_unit_test(test_buckets),
      TEST(test_find),
      TEST(test_levels),
      TEST(test_another_device_has_its_own),
      TEST(test_unsound_lines_are_skipped),
      TEST(test_lines_of_other_versions),
      TEST(test_every_field_is_kept),
      TEST(test_two_processes_append),
      TEST(test_a_directory_that_cannot_be_made),
      TEST(test_a_fifo_is_no_table),
      TEST(test_the_best_counts),
      TEST(test_absurd_lines_are_skipped),
      TEST(test_layers_are_one_table),
      TEST(test_forget),
      TEST(test_family),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
