/* The parts of the command line that stand alone: options, problems, safetensors, random
 * numbers, schedules, tables. */
#include "cli/cli.h"
#include "harness/execute.h"
#include "cli/files.h"
#include "harness/random.h"
#include "cli/safetensors.h"
#include "cli/table.h"
#include "cli/tune.h"

#include "base/file.h"
#include "schedule/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static Arena *arena;

static int
set_up(void **state)
{
  (void)state;
  arena = arena_new(0);
  return arena ? 0 : -1;
}

static int
tear_down(void **state)
{
  (void)state;
  arena_free(arena);
  return 0;
}

/* ---- options ---- */

static attnc_status
parse(Options *o, attnc_error *e, int n, ...)
{
  char *argv[16] = {(char *)(uintptr_t) "attnc"};
  va_list ap;
  va_start(ap, n);
  for (int i = 1; i <= n; i++)
    argv[i] = va_arg(ap, char *);
  va_end(ap);
  return options_parse(n + 1, argv, arena, o, e);
}

static void
options_are_read(void **state)
{
  (void)state;
  Options o;
  attnc_error e;
  int64_t v;
  assert_int_equal(
      parse(&o, &e, 6, "run", "a.yaml", "--verify", "--repeat=7", "-o", "x.st"), ATTNC_OK);
  assert_int_equal(o.command, CMD_RUN);
  assert_int_equal(o.n_args, 1);
  assert_string_equal(o.args[0], "a.yaml");
  assert_true(options_has(&o, OPT_VERIFY));
  assert_string_equal(o.value[OPT_OUTPUT], "x.st");
  assert_null(o.value[OPT_OUTPUT_DIR]);
  assert_int_equal(options_int(&o, OPT_REPEAT, 20, 1, 10, &v, &e), ATTNC_OK);
  assert_int_equal(v, 7);
  assert_int_equal(options_int(&o, OPT_REPEAT, 20, 1, 5, &v, &e), ATTNC_ERR_USAGE);
  assert_int_equal(options_int(&o, OPT_SEED, 3, 0, 5, &v, &e), ATTNC_OK);
  assert_int_equal(v, 3);
}

static void
options_before_the_command_and_after_dashes(void **state)
{
  (void)state;
  Options o;
  attnc_error e;
  assert_int_equal(parse(&o, &e, 4, "--json", "check", "--", "--odd.yaml"), ATTNC_OK);
  assert_true(options_has(&o, OPT_JSON));
  assert_string_equal(o.args[0], "--odd.yaml");
  assert_int_equal(parse(&o, &e, 2, "check", "-"), ATTNC_OK);
  assert_string_equal(o.args[0], "-");
}

static void
options_refuse(void **state)
{
  (void)state;
  static const struct {
    const char *a, *b, *c, *says;
  } bad[] = {
      {"runn", "x", "y", "did you mean run?"},
      {"run", "x", "--verfy", "did you mean --verify?"},
      {"run", "x", "--emit", "unknown option --emit"},
      {"run", "x", "--verify=1", "--verify takes no value"},
      {"run", "x", "--shape", "--shape needs a value"},
      {"cache", "x", "-q", "is not one of stat verify gc clear"},
      {"schema", "x", "-q", "one argument too many: x"},
      {"key", "--json", "-q", "attnc key needs SPEC"},
      {"-x", "a", "b", "unknown option -x"},
      {"key", "a", "b", "one argument too many: b"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Options o;
    attnc_error e = {0};
    assert_int_equal(parse(&o, &e, 3, bad[i].a, bad[i].b, bad[i].c), ATTNC_ERR_USAGE);
    if (!strstr(e.message, bad[i].says))
      fail_msg("%zu: '%s' lacks '%s'", i, e.message, bad[i].says);
  }
}

/* A name or letter must mean one thing to a command, and help must have something to say.
 */
static void
option_table_is_sound(void **state)
{
  (void)state;
  for (int c = 0; c < CMD_COUNT; c++)
    for (int i = 0; i < OPT_COUNT; i++)
      for (int k = i + 1; k < OPT_COUNT; k++) {
        if (!option_applies((OptionId)i, c) || !option_applies((OptionId)k, c))
          continue;
        assert_string_not_equal(option_table[i].name, option_table[k].name);
        if (option_table[i].letter)
          assert_int_not_equal(option_table[i].letter, option_table[k].letter);
      }
  for (int c = 0; c < CMD_COUNT; c++) {
    Str s = str_new(arena);
    options_help(c, &s);
    for (const char *line = s.p; *line; line += strcspn(line, "\n") + 1) {
      char copy[512];
      snprintf(copy, sizeof copy, "%.*s", (int)strcspn(line, "\n"), line);
      if (text_columns(copy) > 110)
        fail_msg("a line of help is too long: %s", copy);
    }
  }
}

static void
help_and_completion(void **state)
{
  (void)state;
  Str s = str_new(arena);
  options_help_json(-1, &s);
  json_t *j = json_loads(s.p, 0, NULL);
  assert_non_null(j);
  assert_int_equal(json_array_size(json_object_get(j, "commands")), CMD_COUNT - 1);
  json_decref(j);
  assert_null(strstr(s.p, "tune-worker"));
  assert_null(strstr(s.p, "inject"));
  static const char *const shells[] = {"bash", "zsh", "fish"};
  for (int i = 0; i < 3; i++) {
    Str t = str_new(arena);
    assert_true(options_completion(shells[i], &t));
    assert_non_null(strstr(t.p, "verify"));
    assert_null(strstr(t.p, "tune-worker"));
  }
  assert_false(options_completion("tcsh", &s));
}

/* ---- problems ---- */

static void
problems_are_read(void **state)
{
  (void)state;
  Problem p = {0};
  attnc_error e;
  assert_int_equal(
      problem_parse("bf16 b2 h8/2 sq128 sk1024 d128/64 causal top_left w9,-1", &p, &e),
      ATTNC_OK);
  assert_int_equal(p.sizes.b, 2);
  assert_int_equal(p.sizes.h, 8);
  assert_int_equal(p.sizes.hk, 2);
  assert_int_equal(p.sizes.sq, 128);
  assert_int_equal(p.sizes.sk, 1024);
  assert_int_equal(p.head_dim, 128);
  assert_int_equal(p.head_dim_v, 64);
  assert_string_equal(p.dtype, "bf16");
  assert_int_equal(p.causal, 2);
  assert_true(p.top_left && p.has_window);
  assert_int_equal(p.window[0], 9);
  assert_int_equal(p.window[1], -1);
  Str s = str_new(arena);
  problem_print(&p.sizes, &s);
  assert_string_equal(s.p, "b2 h8/2 sq128 sk1024");
  Problem q = {.sizes = {0, 3, 4, 4, 5, 6}};
  assert_int_equal(problem_parse("  s0\th6 ", &q, &e), ATTNC_OK);
  assert_int_equal(q.sizes.b, 3);
  assert_int_equal(q.sizes.sq, 0);
  assert_int_equal(q.sizes.sk, 0);
  assert_int_equal(q.sizes.hk, 0); /* the caller's to fill */
}

static void
problems_refuse(void **state)
{
  (void)state;
  static const char *const bad[] = {
      "b",           "b-1",          "b2x",
      "h0",          "h8/0",         "h8/",
      "b1 b2",       "s4 sq4",       "sk4 s4",
      "q8",          "fp64",         "w4",
      "causal full", "b99999999999", "sq 128",
      "d64 d64",     "w-2,0",        "b1,h2",
      "b+1",         "b-0",          "",
      " \n\t",       "w+1,0",        "h08/+2",
      "h8//2",       "fp16 bf16",    "sq12345678901234567890123456789012345678901234567890",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    Problem p = {0};
    attnc_error e = {0};
    if (problem_parse(bad[i], &p, &e) != ATTNC_ERR_USAGE || !*e.message)
      fail_msg("accepted: %s", bad[i]);
  }
}

static void
shapes_by_name(void **state)
{
  (void)state;
  const char *text =
      "# comment\nllama b1 h32/8 s64 # short\n  llama_long\tb2\nlast sq1 sk9";
  attnc_error e;
  Problem p = {0};
  assert_int_equal(problem_parse(problem_of(text, "llama", arena), &p, &e), ATTNC_OK);
  assert_int_equal(p.sizes.hk, 8);
  assert_int_equal(problem_parse(problem_of(text, "last", arena), &p, &e), ATTNC_OK);
  assert_int_equal(p.sizes.sk, 9);
  assert_non_null(problem_of(text, "llama_long", arena));
  assert_null(problem_of(text, "lla", arena));
  assert_null(problem_of(text, "comment", arena));
  assert_null(problem_of("", "x", arena));
}

/* ---- safetensors ---- */

static char *
scratch(const char *name)
{
  return arena_printf(arena, "%s/cli-%d-%s", BUILD_DIR, (int)getpid(), name);
}

static void
tensors_round_trip(void **state)
{
  (void)state;
  const uint16_t q[6] = {1, 2, 3, 4, 5, 0xffff};
  const float lse[2] = {1.5f, -2};
  const StTensor out[3] = {
      {"q", ST_BF16, 4, {1, 3, 1, 2}, q, sizeof q},
      {"empty", ST_F16, 2, {0, 8}, q, 0},
      {"lse", ST_F32, 1, {2}, lse, sizeof lse},
  };
  char *path = scratch("round.safetensors");
  attnc_error e;
  StFile f;
  assert_int_equal(st_write(path, out, 3, &e), ATTNC_OK);
  assert_int_equal(st_read(path, &f, &e), ATTNC_OK);
  unlink(path);
  assert_int_equal(f.n, 3);
  const StTensor *t = st_find(&f, "q");
  assert_int_equal(t->dtype, ST_BF16);
  assert_int_equal(t->rank, 4);
  assert_int_equal(t->shape[1], 3);
  assert_memory_equal(t->data, q, sizeof q);
  assert_int_equal(st_find(&f, "empty")->bytes, 0);
  assert_memory_equal(st_find(&f, "lse")->data, lse, sizeof lse);
  assert_null(st_find(&f, "k"));
  st_free(&f);
}

/* A file of a header and n bytes of data. */
static size_t
file_of(char *out, const char *header, size_t n)
{
  size_t len = strlen(header);
  memset(out, 0, 8);
  out[0] = (char)(len & 255);
  out[1] = (char)(len >> 8);
  memcpy(out + 8, header, len);
  memset(out + 8 + len, 7, n);
  return 8 + len + n;
}

#define T(name, dtype, shape, from, to)                                                    \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from      \
  "," to "]}"

static void
tensors_refuse(void **state)
{
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    const char *says; /* NULL: it is fine */
  } cases[] = {
      {"{" T("a", "F32", "[2]", "0", "8") "}", 8, NULL},
      {"{}", 0, NULL},
      {"{\"__metadata__\":{\"x\":\"y\"}," T("a", "I64", "[]", "0", "8") "}  ", 8, NULL},
      {"{" T("b", "F16", "[2]", "4", "8") "," T("a", "I32", "[1]", "0", "4") "}", 8, NULL},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 7, "past the end"},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 9, "after the last"},
      {"{" T("a", "F32", "[2]", "4", "12") "}", 12, "gap"},
      {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12,
       "overlaps"},
      {"{" T("a", "F32", "[3]", "0", "8") "}", 8, "do not fit"},
      {"{" T("a", "F33", "[2]", "0", "8") "}", 8, "unknown dtype"},
      {"{" T("a", "F32", "[-2]", "0", "8") "}", 8, "an integer"},
      {"{" T("a", "F32", "[2.0]", "0", "8") "}", 8, "an integer"},
      {"{" T("a", "F32", "2", "0", "8") "}", 8, "not an array"},
      {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "0", "8") "}", 8, "8 dimensions"},
      {"{" T("a", "F32", "[4611686018427387904,4]", "0", "8") "}", 8, "too large"},
      {"{" T("a", "F32", "[2]", "8", "0") "}", 8, "backwards"},
      {"{" T("a", "F32", "[2]", "-8", "0") "}", 8, "backwards"},
      {"{" T("a", "F32", "[2]", "0", "9223372036854775807") "}", 8, "past the end"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "pair"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "pair"},
      {"{\"a\":{}}", 0, "unknown dtype"},
      {"{\"a\":5}", 0, "not an object"},
      {"[]", 0, "not a JSON object"},
      {"{" T("a", "F32", "[2]", "0", "8") "," T("a", "F32", "[2]", "0", "8") "}", 8,
       "duplicate"},
      {"{\"a\":", 0, "not a safetensors file"},
      {"", 0, "not a safetensors file"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char bytes[1024];
    size_t n = file_of(bytes, cases[i].header, cases[i].data);
    char *exact = malloc(n); /* so that a sanitizer sees a byte too far */
    memcpy(exact, bytes, n);
    StTensor *t;
    int count;
    attnc_error e = {0};
    attnc_status st = st_parse(exact, n, arena, &t, &count, &e);
    if (cases[i].says ? st != ATTNC_ERR_IO || !strstr(e.message, cases[i].says)
                      : st != ATTNC_OK)
      fail_msg("%zu %s: %s", i, cases[i].header, e.message);
    free(exact);
  }
}

static void
tensors_refuse_headers(void **state)
{
  (void)state;
  static const struct {
    unsigned char bytes[10];
    size_t n;
    const char *says;
  } cases[] = {
      {{0}, 0, "shorter"},
      {{2, 0, 0, 0, 0, 0, 0}, 7, "shorter"},
      {{2, 0, 0, 0, 0, 0, 0, 0, '{'}, 9, "ends within"},
      {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10, "16 MiB"},
      {{0, 0, 0, 0, 0, 0, 0, 128, '{', '}'}, 10, "16 MiB"},
      {{1, 0, 0, 1, 0, 0, 0, 0, '{', '}'}, 10, "16 MiB"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    StTensor *t;
    int count;
    attnc_error e = {0};
    assert_int_equal(
        st_parse((const char *)cases[i].bytes, cases[i].n, arena, &t, &count, &e),
        ATTNC_ERR_IO);
    if (!strstr(e.message, cases[i].says))
      fail_msg("%zu: %s", i, e.message);
  }
}

/* Every prefix and every single flipped byte of a good file: refused or read, no crash. */
static void
tensors_survive_damage(void **state)
{
  (void)state;
  char good[512];
  size_t n = file_of(
      good,
      "{" T("q", "BF16", "[1,2,1,2]", "0", "8") "," T("k", "F16", "[2]", "8", "12") "}",
      12);
  attnc_error e;
  StTensor *t;
  int count, refused = 0;
  for (size_t cut = 0; cut < n; cut++) {
    char *part = malloc(cut + 1);
    memcpy(part, good, cut);
    refused += st_parse(part, cut, arena, &t, &count, &e) == ATTNC_ERR_IO;
    free(part);
  }
  assert_int_equal(refused, (int)n);
  for (size_t at = 0; at < n; at++)
    for (int bit = 0; bit < 8; bit++) {
      char *copy = malloc(n);
      memcpy(copy, good, n);
      copy[at] = (char)(copy[at] ^ 1 << bit);
      attnc_status st = st_parse(copy, n, arena, &t, &count, &e);
      assert_true(st == ATTNC_OK || st == ATTNC_ERR_IO);
      free(copy);
    }
}

/* ---- numbers ---- */

static void
random_is_seeded_and_normal(void **state)
{
  (void)state;
  Random a, b;
  double sum = 0, squares = 0;
  enum { N = 100000 };
  random_seed(&a, 5);
  random_seed(&b, 5);
  for (int i = 0; i < N; i++) {
    double x = random_normal(&a);
    assert_true(x == random_normal(&b));
    sum += x;
    squares += x * x;
  }
  assert_true(fabs(sum / N) < 0.02);
  assert_true(fabs(squares / N - 1) < 0.02);
  random_seed(&b, 6);
  assert_true(random_bits(&a) != random_bits(&b));
}

/* An input of four numbers, with the four elements behind them, which are nobody's. */
enum { FEW = 4 };
static attnc_status
random_of(Dtype dtype, unsigned char out[2 * FEW * 4], attnc_error *e)
{
  Tensors t = {0};
  memset(out, 0xa5, 2 * FEW * 4);
  t.call.at[ATTNC_K].t.access = ACCESS_IN;
  t.call.at[ATTNC_K].t.dtype = dtype;
  t.call.n_slots = ATTNC_K + 1;
  t.host[ATTNC_K] = (HostTensor){
      .name = "k", .dtype = dtype, .data = out, .rank = 1, .shape = {FEW}, .row = FEW};
  t.host[ATTNC_K].bytes = (size_t)(FEW * dtype_bytes(dtype));
  return tensors_random(&t, 7, e);
}

static float
element(Dtype dtype, const unsigned char *data, int i)
{
  uint16_t half;
  float whole;
  memcpy(&half, data + 2 * i, sizeof half);
  if (dtype != DT_F32)
    return dtype == DT_F16 ? f16_to_float(half) : bf16_to_float(half);
  memcpy(&whole, data + 4 * i, sizeof whole);
  return whole;
}

/* Ids of 0 to 7; of a monotone tensor rows from 0 on that never fall, and rise. */
static void
random_ids(void **state)
{
  enum { ROW = 300, ROWS = 3 };
  static int32_t out[ROWS][ROW];
  Tensors t = {0};
  attnc_error e;
  (void)state;
  t.call.n_slots = 1;
  t.call.at[0].t.access = ACCESS_IN;
  t.call.at[0].t.dtype = DT_I32;
  t.host[0] = (HostTensor){.name = "doc", .dtype = DT_I32, .data = out, .rank = 2};
  t.host[0].shape[0] = ROWS;
  t.host[0].shape[1] = t.host[0].row = ROW;
  t.host[0].bytes = sizeof out;
  bool seen[8] = {false};
  assert_int_equal(tensors_random(&t, 7, &e), ATTNC_OK);
  for (int i = 0; i < ROWS * ROW; i++) {
    assert_in_range(out[i / ROW][i % ROW], 0, 7);
    seen[out[i / ROW][i % ROW]] = true;
  }
  for (int i = 0; i < 8; i++)
    assert_true(seen[i]);
  t.call.at[0].monotone = true;
  assert_int_equal(tensors_random(&t, 7, &e), ATTNC_OK);
  for (int r = 0; r < ROWS; r++) {
    assert_int_equal(out[r][0], 0);
    assert_true(out[r][ROW - 1] > 0);
    for (int i = 1; i < ROW; i++)
      assert_in_range(out[r][i] - out[r][i - 1], 0, 1);
  }
}

/* Of every type the same numbers, rounded, and not a byte too many; or a refusal that names
 * the tensor and its type, and not a byte. */
static void
random_tensors_by_dtype(void **state)
{
  (void)state;
  const double ulp[DT_COUNT] = {[DT_F16] = 0x1p-11, [DT_BF16] = 0x1p-8, [DT_F32] = 0x1p-24};
  for (Dtype d = 0; d < DT_COUNT; d++) {
    unsigned char out[2 * FEW * 4];
    attnc_error e = {0};
    Random r;
    bool can = ulp[d] > 0;
    if (d == DT_I32 || d == DT_U32 || d == DT_U64)
      continue; /* ids: below */
    assert_int_equal(random_of(d, out, &e), can ? ATTNC_OK : ATTNC_ERR_UNSUPPORTED);
    for (size_t i = can ? (size_t)(FEW * dtype_bytes(d)) : 0; i < sizeof out; i++)
      assert_int_equal(out[i], 0xa5);
    random_seed(&r, 7);
    for (int i = 0; i < FEW && can; i++) {
      double x = random_normal(&r);
      assert_true(fabs(element(d, out, i) - x) <= ulp[d] * fabs(x));
    }
    if (!can && (!strstr(e.message, "k: ") || !strstr(e.message, dtype_name(d))))
      fail_msg("%s", e.message);
  }
}

static void
halves_round_to_even(void **state)
{
  (void)state;
  static const struct {
    float x;
    uint16_t f16, bf16;
  } cases[] = {
      {0, 0, 0},
      {-0.0f, 0x8000, 0x8000},
      {1, 0x3c00, 0x3f80},
      {-2, 0xc000, 0xc000},
      {1 + 0x1p-11f, 0x3c00, 0x3f80}, /* a tie of fp16 goes to even */
      {1 + 0x3p-11f, 0x3c02, 0x3f80}, /* and up to even */
      {1 + 0x1p-8f, 0x3c04, 0x3f80},  /* a tie of bf16 */
      {1 + 0x3p-8f, 0x3c0c, 0x3f82},
      {65504, 0x7bff, 0x4780},
      {65520, 0x7c00, 0x4780},
      {0x1p-24f, 0x0001, 0x3380}, /* the least fp16 */
      {0x1p-25f, 0x0000, 0x3300}, /* half of it: a tie */
      {0x1.8p-25f, 0x0001, 0x3340},
      {0x1p-14f, 0x0400, 0x3880},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(float_to_f16(cases[i].x), cases[i].f16);
    assert_int_equal(float_to_bf16(cases[i].x), cases[i].bf16);
  }
  assert_int_equal(float_to_f16(INFINITY), 0x7c00);
  assert_int_equal(float_to_bf16(-INFINITY), 0xff80);
  assert_true(isnan(f16_to_float(float_to_f16(NAN))));
  assert_true(isnan(bf16_to_float(float_to_bf16(NAN))));
  for (unsigned h = 0; h < 0x10000; h++) {
    float x = f16_to_float((uint16_t)h), y = bf16_to_float((uint16_t)h);
    if (!isnan(x))
      assert_int_equal(float_to_f16(x), h);
    if (!isnan(y))
      assert_int_equal(float_to_bf16(y), h);
  }
}

static void
medians(void **state)
{
  (void)state;
  double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, spread[] = {1, 2, 3, 4, 100};
  assert_true(median_of(odd, 3) == 2);
  assert_true(median_of(even, 4) == 2.5);
  Timing t;
  timing_of(spread, 5, &t);
  assert_true(t.median == 3 && t.least == 1 && t.most == 100 && t.spread == 1);
}

static void
rank_correlations(void **state)
{
  (void)state;
  const double x[] = {1, 2, 3, 4, 5}, same[] = {10, 20, 30, 40, 500},
               back[] = {5, 4, 3, 2, 1}, ties[] = {1, 1, 2, 2, 3}, flat[] = {1, 1, 1, 1, 1};
  assert_true(fabs(spearman(x, same, 5) - 1) < 1e-12);
  assert_true(fabs(spearman(x, back, 5) + 1) < 1e-12);
  assert_true(fabs(spearman(x, ties, 5) - 0.9486832980505138) < 1e-12);
  assert_true(isnan(spearman(x, flat, 5)));
  assert_true(isnan(spearman(x, same, 1)));
}

/* ---- schedules and tables ---- */

static void
schedules_are_read(void **state)
{
  (void)state;
  attnc_schedule s;
  attnc_error e;
  assert_int_equal(schedule_parse("template=fwd_mma,block_m=128,block_n=64,num_stages=2,"
                                  "num_warps=8,q_in_regs=true",
                                  arena, &s, &e),
                   ATTNC_OK);
  assert_string_equal(s.template_name, "fwd_mma");
  assert_int_equal(s.block_m, 128);
  assert_string_equal(s.options, "q_in_regs=true");
  json_t *j = schedule_json(&s);
  assert_string_equal(schedule_text(j, arena), "fwd_mma 128x64 w8 s2 qreg");
  attnc_schedule back;
  schedule_read(j, arena, &back);
  assert_int_equal(back.num_warps, 8);
  assert_string_equal(back.options, "q_in_regs=true");
  json_decref(j);
  assert_int_equal(
      schedule_parse("block_m=128,block_n=176,intra_wg_overlap=true,pingpong=false,"
                     "scheduler=lpt,cluster=1,q_stages=2,poly_exp2=0",
                     arena, &s, &e),
      ATTNC_OK);
  j = schedule_json(&s);
  assert_string_equal(schedule_text(j, arena), "? 128x176 intra_wg_overlap lpt q_stages=2");
  assert_int_equal((int)json_object_size(j), 8);
  schedule_read(j, arena, &back);
  assert_int_equal(back.block_n, 176);
  assert_string_equal(back.options, s.options);
  json_decref(j);
  static const char *const bad[] = {"block_m",
                                    "block_m=",
                                    "=3",
                                    "block_m=x",
                                    "block_m=0",
                                    "blockm=64",
                                    "q_in_regs=1",
                                    "",
                                    "block_m=64,",
                                    "num_warps=65",
                                    "poly_exp2=17",
                                    "intra_wg_overlap=2",
                                    "scheduler=fast",
                                    "scheduler=1",
                                    "options=0",
                                    "pingpong=yes",
                                    "size=88",
                                    "block_m=064",
                                    "block_m=64,block_m=64"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (schedule_parse(bad[i], arena, &s, &e) != ATTNC_ERR_USAGE)
      fail_msg("accepted: %s", bad[i]);
}

static void
pins(void **state)
{
  (void)state;
  json_t *spec = json_loads("{\"schedule\": [{\"arch\": \"sm_90\", \"template\": \"a\","
                            " \"block_m\": 64, \"q_in_regs\": true, \"num_warps\": null},"
                            " {\"arch\": null, \"block_n\": 32}]}",
                            0, NULL);
  json_t *s = json_pack("{s:s, s:i, s:i, s:i}", "template", "a", "block_m", 64, "num_warps",
                        4, "block_n", 16);
  json_object_set_new(s, "q_in_regs", json_true());
  const json_t *one = spec_pin_for(spec, "sm_90"), *other = spec_pin_for(spec, "sm_80");
  assert_true(pin_allows(one, s));
  assert_false(pin_allows(other, s));
  assert_true(pin_allows(NULL, s));
  json_object_set_new(s, "q_in_regs", json_false());
  assert_false(pin_allows(one, s));
  json_object_set_new(s, "q_in_regs", json_true());
  json_object_set_new(s, "template", json_string("b"));
  assert_false(pin_allows(one, s));
  json_decref(spec);
  json_decref(s);
  assert_null(spec_pin_for(NULL, "sm_80"));
}

static void
tables_align(void **state)
{
  (void)state;
  Table *t = table_new(arena, "lrl");
  static const char *const cells[] = {"a", "±", "x y", "long", "12", ""};
  for (int i = 0; i < 6; i++)
    table_cell(t, "%s", cells[i]);
  Str s = str_new(arena);
  table_print(t, "> ", &s);
  assert_string_equal(s.p, "> a      ±  x y\n> long  12\n");
}

/* ---- manifests ---- */

enum { WRITERS = 40, FILES = 2 };

static int
write_output(const char *dir, int writer)
{
  OutputDir d;
  attnc_error e;
  char name[32];
  attnc_status status = output_open(&d, arena, dir, &e);
  for (int i = 0; status == ATTNC_OK && i < FILES; i++) {
    snprintf(name, sizeof name, "w%d.%d", writer, i);
    status = output_write(&d, name, name, strlen(name), &e);
  }
  return status == ATTNC_OK && output_manifest(&d, &e) == ATTNC_OK ? 0 : 1;
}

/* Processes that share a directory, as compiles do: nobody's line is lost. */
static void
manifests_are_merged(void **state)
{
  (void)state;
  char dir[] = "/tmp/attnc-test-XXXXXX", path[64], *text, command[64];
  size_t n;
  int lines = 0;
  pid_t pids[WRITERS];
  assert_non_null(mkdtemp(dir));
  for (int i = 0; i < WRITERS; i++) {
    pids[i] = fork();
    if (!pids[i])
      _exit(write_output(dir, i));
  }
  for (int i = 0; i < WRITERS; i++) {
    int code = -1;
    waitpid(pids[i], &code, 0);
    assert_int_equal(code, 0);
  }
  snprintf(path, sizeof path, "%s/MANIFEST.sha256", dir);
  assert_int_equal(file_read(path, 1 << 20, &text, &n, NULL), ATTNC_OK);
  for (size_t i = 0; i < n; i++)
    lines += text[i] == '\n';
  assert_int_equal(lines, WRITERS * FILES);
  free(text);
  /* a FIFO in its place is told, not waited at */
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  alarm(30);
  assert_int_equal(write_output(dir, 0), 1);
  alarm(0);
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(system(command), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(options_are_read),
      TEST(options_before_the_command_and_after_dashes),
      TEST(options_refuse),
      TEST(option_table_is_sound),
      TEST(help_and_completion),
      TEST(problems_are_read),
      TEST(problems_refuse),
      TEST(shapes_by_name),
      TEST(tensors_round_trip),
      TEST(tensors_refuse),
      TEST(tensors_refuse_headers),
      TEST(tensors_survive_damage),
      TEST(random_is_seeded_and_normal),
      TEST(random_tensors_by_dtype),
      TEST(random_ids),
      TEST(halves_round_to_even),
      TEST(medians),
      TEST(rank_correlations),
      TEST(schedules_are_read),
      TEST(pins),
      TEST(tables_align),
      TEST(manifests_are_merged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
