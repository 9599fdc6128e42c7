#include "tests/unit/rt.h"

#include "runtime/settings.h"

static const char *const variables[] = {
    "ATTNC_CACHE",    "ATTNC_CACHE_DIR", "ATTNC_CACHE_MAX_SIZE", "ATTNC_CACHE_READONLY",
    "ATTNC_TUNE_DIR", "XDG_CACHE_HOME",  "XDG_DATA_HOME",        "ATTNC_DUMP",
    "ATTNC_DUMP_DIR", "ATTNC_CC",        "ATTNC_CC_LIMITS"};

typedef struct Read {
  attnc_context c;
  CacheConfig config;
  attnc_error e;
  attnc_status status;
} Read;

static int
setup(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
    unsetenv(variables[i]);
  return setenv("HOME", "/h/me", 1);
}

static void
read_settings(Read *r, const attnc_options *o)
{
  static const attnc_options defaults = {.size = sizeof defaults};
  memset(r, 0, sizeof *r);
  r->c.arena = arena_new(0);
  r->status = settings_read(&r->c, o ? o : &defaults, &r->config, &r->e);
}

static void
done(Read *r)
{
  arena_free(r->c.arena);
}

static void
test_defaults(void **state)
{
  Read r;
  (void)state;
  read_settings(&r, NULL);
  assert_int_equal(r.status, ATTNC_OK);
  assert_string_equal(r.config.dir, "/h/me/.cache/attnc");
  assert_string_equal(r.c.tune_dir, "/h/me/.local/share/attnc/tune");
  assert_int_equal(r.config.mode, CACHE_WRITE);
  assert_int_equal(r.config.max_bytes, 2ull << 30);
  assert_null(r.config.readonly);
  assert_null(r.c.compile);
  assert_null(r.c.cc_program); /* kernels are compiled in the process */
  assert_int_equal(r.c.cc_limits.seconds, 120);
  assert_int_equal(r.c.cc_limits.memory, 4ull << 30);
  assert_int_equal(r.c.cc_limits.compiles, 500);
  assert_int_equal(r.c.cc_limits.workers, 2);
  done(&r);
  setenv("XDG_CACHE_HOME", "/c", 1);
  setenv("XDG_DATA_HOME", "relative", 1); /* to be ignored, says its specification */
  read_settings(&r, NULL);
  assert_string_equal(r.config.dir, "/c/attnc");
  assert_string_equal(r.c.tune_dir, "/h/me/.local/share/attnc/tune");
  done(&r);
  unsetenv("HOME");
  unsetenv("XDG_CACHE_HOME");
  read_settings(&r, NULL);
  assert_int_equal(r.status, ATTNC_OK);
  assert_int_equal(r.config.mode, CACHE_OFF);
  assert_null(r.c.tune_dir);
  done(&r);
}

static void
test_environment_then_options(void **state)
{
  Read r;
  attnc_compile_options compile = {.size = sizeof compile, .ptx_version = "7.1"};
  attnc_options o = {.size = sizeof o,
                     .cache_dir = "/opt",
                     .cache = 1,
                     .tune_dir = "/t",
                     .compile = &compile,
                     .cc = "0",
                     .cc_limits = "workers=7"};
  (void)state;
  setenv("ATTNC_CACHE_DIR", "/env", 1);
  setenv("ATTNC_TUNE_DIR", "/env/tune", 1);
  setenv("ATTNC_CACHE", "ro", 1);
  setenv("ATTNC_CACHE_READONLY", "/a:/b", 1);
  setenv("ATTNC_CACHE_MAX_SIZE", "3M", 1);
  setenv("ATTNC_DUMP", "tile,ptx", 1);
  setenv("ATTNC_CC", "/opt/attnc-cc", 1);
  setenv("ATTNC_CC_LIMITS", "memory=2G,seconds=30", 1);
  read_settings(&r, NULL);
  assert_string_equal(r.config.dir, "/env");
  assert_string_equal(r.c.tune_dir, "/env/tune");
  assert_int_equal(r.config.mode, CACHE_READ);
  assert_string_equal(r.config.readonly, "/a:/b");
  assert_int_equal(r.config.max_bytes, 3 << 20);
  assert_string_equal(r.c.compile->dump, "tile,ptx");
  assert_string_equal(r.c.dump_dir, ".");
  assert_string_equal(r.c.cc_program, "/opt/attnc-cc");
  assert_int_equal(r.c.cc_limits.memory, 2ull << 30);
  assert_int_equal(r.c.cc_limits.seconds, 30);
  assert_true(r.c.dumps);
  done(&r);
  setenv("ATTNC_DUMP_DIR", "/d", 1);
  read_settings(&r, &o);
  assert_string_equal(r.config.dir, "/opt");
  assert_string_equal(r.c.tune_dir, "/t");
  assert_int_equal(r.config.mode, CACHE_OFF);
  assert_string_equal(r.c.compile->ptx_version, "7.1");
  assert_string_equal(r.c.compile->dump, "tile,ptx");
  assert_string_equal(r.c.dump_dir, "/d");
  assert_null(r.c.cc_program);
  assert_int_equal(r.c.cc_limits.workers, 7);
  done(&r);
}

static void
refused(const char *says)
{
  Read r;
  read_settings(&r, NULL);
  assert_int_equal(r.status, ATTNC_ERR_USAGE);
  if (!strstr(r.e.message, says))
    fail_msg("%s", r.e.message);
  done(&r);
}

static void
test_what_is_not_understood(void **state)
{
  Read r;
  attnc_options o = {.size = sizeof o, .cache = 4};
  attnc_compile_options compile = {.size = 1};
  (void)state;
  setenv("ATTNC_CACHE", "maybe", 1);
  refused("ATTNC_CACHE: 'maybe' is not");
  setenv("ATTNC_CACHE", "0", 1);
  setenv("ATTNC_CACHE_MAX_SIZE", "lots", 1);
  refused("ATTNC_CACHE_MAX_SIZE: 'lots'");
  unsetenv("ATTNC_CACHE_MAX_SIZE");
  read_settings(&r, &o);
  assert_int_equal(r.status, ATTNC_ERR_USAGE);
  done(&r);
  o.cache = 0;
  o.compile = &compile;
  read_settings(&r, &o);
  assert_int_equal(r.status, ATTNC_ERR_USAGE);
  done(&r);
}

static void
test_sizes(void **state)
{
  static const struct {
    const char *text;
    bool good;
    uint64_t bytes;
  } cases[] = {
      {"0", true, 0},
      {"1000", true, 1000},
      {"2G", true, 2ull << 30},
      {"7K", true, 7 << 10},
      {"5MB", true, 5 << 20},
      {"5MiB", true, 5 << 20},
      {"1T", true, 1ull << 40},
      {"", false, 0},
      {"G", false, 0},
      {"-1", false, 0},
      {"1.5G", false, 0},
      {"2Gx", false, 0},
      {"2P", false, 0},
      {" 2", false, 0},
      {"99999999999T", false, 0},
      {"+2", false, 0},
      {"18446744073709551616", false, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t bytes = 0;
    if (settings_size(cases[i].text, &bytes) != cases[i].good)
      fail_msg("'%s'", cases[i].text);
    if (cases[i].good)
      assert_true(bytes == cases[i].bytes);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_defaults, setup),
      cmocka_unit_test_setup(test_environment_then_options, setup),
      cmocka_unit_test_setup(test_what_is_not_understood, setup),
      cmocka_unit_test_setup(test_sizes, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
