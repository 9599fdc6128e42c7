/* The parts of base/, each against something that base/ did not make: vectors of FIPS 180-4
 * and RFC 3629, texts written out, files read back by the system. */
#include "base/arena.h"
#include "base/diag.h"
#include "base/env.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- arena ---- */

static void
arena_gives_aligned_zeroes(void **state)
{
  (void)state;
  Arena *a = arena_new(0);
  for (size_t n = 0; n < 70000; n = n * 3 + 1) {
    unsigned char *p = arena_alloc(a, n);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    for (size_t i = 0; i < n; i++)
      assert_int_equal(p[i], 0);
    memset(p, 0xff, n);
  }
  assert_true(arena_used(a) > 44000);
  arena_free(a);
  arena_free(NULL);
}

static void
arena_limit_without_a_catch_is_null(void **state)
{
  (void)state;
  Arena *a = arena_new(1024);
  assert_non_null(arena_alloc(a, 1000));
  assert_null(arena_alloc(a, 1000));
  assert_null(arena_alloc(a, SIZE_MAX));
  assert_null(arena_alloc(a, SIZE_MAX / 2));
  assert_non_null(arena_alloc(a, 16)); /* what still fits is still given */
  arena_free(a);
}

/* Allocates until the arena jumps; returns how often it did not. */
static int
fill_until_caught(Arena *a, size_t n)
{
  jmp_buf point;
  volatile int given = 0;
  arena_catch(a, &point);
  if (!setjmp(point)) {
    for (;;) {
      assert_non_null(arena_alloc(a, n));
      given++;
    }
  }
  arena_catch(a, NULL);
  return given;
}

static void
arena_limit_jumps_to_the_catch(void **state)
{
  (void)state;
  Arena *a = arena_new(4096);
  assert_int_equal(fill_until_caught(a, 64), 64);
  assert_int_equal(arena_used(a), 4096);
  assert_null(arena_alloc(a, 1)); /* caught no longer */
  arena_free(a);
}

static void
arena_texts(void **state)
{
  (void)state;
  Arena *a = arena_new(0);
  char *copy = arena_strndup(a, "block_m", 5);
  assert_string_equal(copy, "block");
  assert_string_equal(arena_strdup(a, ""), "");
  assert_string_equal(arena_printf(a, "%s %d", copy, 128), "block 128");
  char *big = arena_printf(a, "%0100000d", 7);
  assert_int_equal(strlen(big), 100000);
  arena_free(a);
}

static void
vec_grows_and_keeps(void **state)
{
  (void)state;
  Arena *a = arena_new(0);
  VEC(int) v = {0};
  for (int i = 0; i < 1000; i++) {
    int *p = vec_push(a, &v);
    assert_int_equal(*p, 0);
    *p = i;
  }
  assert_int_equal(v.n, 1000);
  for (int i = 0; i < 1000; i++)
    assert_int_equal(v.at[i], i);
  v.n = 3; /* a popped element is zero when it comes again */
  assert_int_equal(*vec_push(a, &v), 0);
  arena_free(a);
}

static void
vec_says_no_when_memory_ends(void **state)
{
  (void)state;
  Arena *a = arena_new(256);
  VEC(double) v = {0};
  int pushed = 0;
  while (vec_push(a, &v))
    pushed++;
  assert_int_equal(pushed, 16); /* 64 + 128 bytes; 256 more are refused */
  assert_int_equal(v.n, 16);
  arena_free(a);
}

/* ---- text ---- */

static void
str_builds(void **state)
{
  (void)state;
  Arena *a = arena_new(0);
  Str s = str_new(a);
  assert_string_equal(s.p, "");
  str_put(&s, "causal");
  str_putn(&s, ": trueXXX", 6);
  str_printf(&s, " #%d", 42);
  str_put(&s, "");
  assert_string_equal(s.p, "causal: true #42");
  assert_int_equal(s.n, strlen(s.p));
  for (int i = 0; i < 5000; i++)
    str_printf(&s, "%d,", i);
  assert_int_equal(s.n, strlen(s.p));
  arena_free(a);
}

static void
str_keeps_its_text_when_memory_ends(void **state)
{
  (void)state;
  Arena *a = arena_new(64);
  Str s = str_new(a);
  str_put(&s, "kept");
  for (int i = 0; i < 100; i++)
    str_put(&s, "0123456789012345678901234567890123456789012345678901234567890123");
  assert_string_equal(s.p, "kept");
  str_printf(&s, "%0200d", 1);
  assert_string_equal(s.p, "kept");
  arena_free(a);
}

static void
json_of(const char *text, const char *want)
{
  Arena *a = arena_new(0);
  Str s = str_new(a);
  str_json(&s, text);
  assert_string_equal(s.p, want);
  arena_free(a);
}

static void
str_json_escapes(void **state)
{
  (void)state;
  json_of("", "\"\"");
  json_of("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
  json_of("\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"");
  json_of("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
  json_of("\xff", "\"\\ufffd\"");
  json_of("\xc0\x80", "\"\\ufffd\\ufffd\"");            /* overlong */
  json_of("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
  json_of("\xe2\x82", "\"\\ufffd\\ufffd\"");            /* cut off */
}

static void
str_utf8_lengths(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    int n;
  } cases[] = {
      {"", 1},
      {"a", 1},
      {"\xc3\xbc", 2},
      {"\xe2\x82\xac", 3},
      {"\xf0\x9f\x98\x80", 4},
      {"\xf4\x8f\xbf\xbf", 4},
      {"\xf4\x90\x80\x80", 0},
      {"\x80", 0},
      {"\xc1\xbf", 0},
      {"\xe0\x9f\xbf", 0},
      {"\xf0\x8f\xbf\xbf", 0},
      {"\xc3", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(str_utf8(cases[i].text), cases[i].n);
}

static void
nearest(const char *word, const char *want)
{
  static const char *const names[] = {"name",   "dtype", "head_dim", "head_dim_v",
                                      "causal", "b",     "hk",       "softmax_scale"};
  const char *got = str_nearest(word, names, (int)(sizeof names / sizeof *names));
  if (want && got)
    assert_string_equal(got, want);
  else
    assert_true(got == want);
}

static void
str_nearest_knows_slips_from_other_words(void **state)
{
  (void)state;
  nearest("casual", "causal"); /* a swap */
  nearest("Causal", "causal");
  nearest("head-dim", "head_dim");
  nearest("headdim", "head_dim");
  nearest("head_dim_vv", "head_dim_v");
  nearest("dtpe", "dtype");
  nearest("softmax_scal", "softmax_scale");
  nearest("head_dim", "head_dim");
  nearest("window", NULL);
  nearest("xyz", NULL);
  nearest("kh", "hk");
  nearest("z", NULL); /* one letter is never one edit from another */
  nearest("", NULL);
  char longer[200];
  memset(longer, 'a', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  nearest(longer, NULL);
}

/* ---- status and errors ---- */

static void
statuses_are_named(void **state)
{
  (void)state;
  assert_string_equal(attnc_status_name(ATTNC_OK), "ATTNC_OK");
  assert_string_equal(attnc_status_name(ATTNC_ERR_SHAPE), "ATTNC_ERR_SHAPE");
  assert_string_equal(attnc_status_string(ATTNC_ERR_SPEC), "the spec is not valid");
  assert_string_equal(attnc_status_name((attnc_status)1000), "ATTNC_UNKNOWN_STATUS");
  assert_non_null(attnc_status_string((attnc_status)1000));
  assert_int_equal(err_exit_code(ATTNC_OK), 0);
  assert_int_equal(err_exit_code(ATTNC_ERR_SPEC), 3);
  assert_int_equal(err_exit_code(ATTNC_ERR_TIMEOUT), 124);
  assert_int_equal(err_exit_code((attnc_status)1000), 5);
  assert_int_equal(attnc_version(), ATTNC_VERSION_MAJOR * 10000 +
                                        ATTNC_VERSION_MINOR * 100 + ATTNC_VERSION_PATCH);
}

static void
errors_are_filled(void **state)
{
  (void)state;
  attnc_error e;
  assert_int_equal(err_set(&e, ATTNC_ERR_IO, "open %s: %s", "x", "gone"), ATTNC_ERR_IO);
  assert_int_equal(e.status, ATTNC_ERR_IO);
  assert_int_equal(e.driver_code, 0);
  assert_string_equal(e.message, "open x: gone");
  assert_int_equal(err_driver(&e, ATTNC_ERR_DEVICE, 718, "cuX"), ATTNC_ERR_DEVICE);
  assert_int_equal(e.driver_code, 718);
  err_set(&e, ATTNC_ERR_IO, "%0900d", 1);
  assert_int_equal(strlen(e.message), sizeof e.message - 1);
  err_clear(&e);
  assert_int_equal(e.status, ATTNC_OK);
  assert_string_equal(e.message, "");
  assert_int_equal(err_set(NULL, ATTNC_ERR_NOMEM, "nobody asks"), ATTNC_ERR_NOMEM);
  err_clear(NULL);
}

static attnc_status
tries(attnc_status inner)
{
  TRY(inner);
  return ATTNC_ERR_CHECK;
}

static void
try_returns_failures_only(void **state)
{
  (void)state;
  assert_int_equal(tries(ATTNC_ERR_IO), ATTNC_ERR_IO);
  assert_int_equal(tries(ATTNC_OK), ATTNC_ERR_CHECK);
}

/* ---- diagnostics ---- */

static const char spec_text[] = "attnc: 1\nname: x\n\thead_dim: 65\r\ncasual: true";

static attnc_diags *
new_diags(const char *text)
{
  attnc_diags *d;
  assert_int_equal(attnc_diags_create(&d), ATTNC_OK);
  diags_source(d, "bad.attn.yaml", text, strlen(text));
  return d;
}

static void
formats_as(const attnc_diags *d, int color, const char *want)
{
  char text[8192];
  size_t n = attnc_diags_format(d, color, text, sizeof text);
  assert_string_equal(text, want);
  assert_int_equal(n, strlen(want));
}

static void
diag_shows_place_line_and_help(void **state)
{
  (void)state;
  attnc_diags *d = new_diags(spec_text);
  diags_error(d, (Place){4, 1, 6}, 102, "did you mean `causal`?", "unknown key `%s`",
              "casual");
  diags_warning(d, (Place){1, 8, 1}, 7, NULL, "old");
  formats_as(d, 0,
             "bad.attn.yaml:4:1: error[A0102]: unknown key `casual`\n"
             "    4 | casual: true\n"
             "      | ^~~~~~\n"
             "      help: did you mean `causal`?\n"
             "bad.attn.yaml:1:8: warning[A0007]: old\n"
             "    1 | attnc: 1\n"
             "      |        ^\n");
  assert_int_equal(diags_errors(d), 1);
  assert_int_equal(attnc_diags_count(d), 2);
  attnc_diags_release(d);
}

static void
diag_is_data(void **state)
{
  (void)state;
  attnc_diags *d = new_diags(spec_text);
  diags_error(d, (Place){3, 12, 2}, 110, "write 64", "head_dim");
  const attnc_diag *g = attnc_diags_get(d, 0);
  assert_int_equal(g->error, 1);
  assert_int_equal(g->code, 110);
  assert_int_equal(g->line, 3);
  assert_int_equal(g->col, 12);
  assert_int_equal(g->width, 2);
  assert_string_equal(g->file, "bad.attn.yaml");
  assert_string_equal(g->message, "head_dim");
  assert_string_equal(g->source, "\thead_dim: 65"); /* without the \r */
  assert_string_equal(g->help, "write 64");
  assert_null(attnc_diags_get(d, 1));
  attnc_diags_release(d);
}

static void
diag_expands_tabs(void **state)
{
  (void)state;
  attnc_diags *d = new_diags(spec_text);
  diags_error(d, (Place){3, 12, 2}, 110, NULL, "m");
  formats_as(d, 0,
             "bad.attn.yaml:3:12: error[A0110]: m\n"
             "    3 |         head_dim: 65\n"
             "      |                   ^~\n");
  attnc_diags_release(d);
}

static void
diag_counts_characters_not_bytes(void **state)
{
  (void)state;
  attnc_diags *d = new_diags("doc: \"\xc3\xbc\xe2\x82\xac\" oops");
  diags_error(d, (Place){1, 11, 4}, 1, NULL, "m");
  formats_as(d, 0,
             "bad.attn.yaml:1:11: error[A0001]: m\n"
             "    1 | doc: \"\xc3\xbc\xe2\x82\xac\" oops\n"
             "      |           ^~~~\n");
  attnc_diags_release(d);
}

static void
diag_steers_no_terminal(void **state)
{
  (void)state;
  attnc_diags *d = new_diags("a: \033[2J\xc2\x9b\xff z");
  diags_error(d, (Place){1, 10, 1}, 1, "\033]0;x\a", "key `%s`", "\033[31m\n");
  formats_as(d, 0,
             "bad.attn.yaml:1:10: error[A0001]: key `?[31m?`\n"
             "    1 | a: ?[2J?? z\n"
             "      |          ^\n"
             "      help: ?]0;x?\n");
  attnc_diags_release(d);
}

static void
diag_cuts_long_lines(void **state)
{
  (void)state;
  char text[3001];
  memset(text, 'x', 3000);
  text[3000] = 0;
  memcpy(text + 2000, "HERE", 4);
  attnc_diags *d = new_diags(text);
  diags_error(d, (Place){1, 2001, 4}, 1, NULL, "m");
  diags_error(d, (Place){1, 3, 2990}, 1, NULL, "wide");
  char out[4096];
  attnc_diags_format(d, 0, out, sizeof out);
  int lines = 0;
  for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"), lines++)
    assert_true(strlen(line) < 120);
  assert_int_equal(lines, 6);
  attnc_diags_format(d, 0, out, sizeof out);
  char *source = strstr(out, "1 | ..."), *caret = strstr(out, "      | ");
  assert_non_null(source);
  /* The caret is under the H, whatever was cut away. */
  assert_int_equal(strstr(source, "HERE") - (source - 4), strchr(caret, '^') - caret);
  assert_memory_equal(strchr(caret, '^'), "^~~~\n", 5);
  attnc_diags_release(d);
}

static void
diag_colours_change_nothing_else(void **state)
{
  (void)state;
  attnc_diags *d = new_diags(spec_text);
  diags_error(d, (Place){4, 1, 6}, 102, "help", "m");
  formats_as(d, 1,
             "\033[1mbad.attn.yaml:4:1: \033[0m\033[1;31merror[A0102]: \033[0mm\n"
             "    4 | casual: true\n"
             "      | \033[1;32m^~~~~~\033[0m\n"
             "\033[1;36m      help: \033[0mhelp\n");
  attnc_diags_release(d);
}

static void
diag_without_a_place(void **state)
{
  (void)state;
  attnc_diags *d = new_diags(spec_text);
  diags_error(d, (Place){0, 5, 3}, 4, NULL, "whole file");
  diags_error(d, (Place){99, 1, 1}, 4, NULL, "past the end");
  diags_source(d, NULL, NULL, 0);
  diags_error(d, (Place){1, 1, 1}, 4, NULL, "no text");
  formats_as(d, 0,
             "bad.attn.yaml: error[A0004]: whole file\n"
             "bad.attn.yaml:99:1: error[A0004]: past the end\n"
             "1:1: error[A0004]: no text\n");
  attnc_diags_release(d);
}

static void
diag_points_past_the_end_of_a_line(void **state)
{
  (void)state;
  attnc_diags *d = new_diags("ab\n");
  diags_error(d, (Place){1, 40, 9}, 4, NULL, "m");
  diags_error(d, (Place){2, 1, 0}, 4, NULL, "n");
  formats_as(d, 0,
             "bad.attn.yaml:1:40: error[A0004]: m\n"
             "    1 | ab\n"
             "      |   ^\n"
             "bad.attn.yaml:2:1: error[A0004]: n\n"
             "    2 | \n"
             "      | ^\n");
  attnc_diags_release(d);
}

static void
diags_keep_fifty_and_count_the_rest(void **state)
{
  (void)state;
  attnc_diags *d = new_diags("a");
  for (int i = 0; i < 60; i++)
    diags_error(d, (Place){1, 1, 1}, i, NULL, "m");
  assert_int_equal(attnc_diags_count(d), DIAG_CAP);
  assert_int_equal(diags_errors(d), 60);
  size_t n = attnc_diags_format(d, 0, NULL, 0);
  char *text = malloc(n + 1);
  assert_int_equal(attnc_diags_format(d, 0, text, n + 1), n);
  assert_string_equal(text + n - strlen("and 10 more\n"), "and 10 more\n");
  char part[10];
  assert_int_equal(attnc_diags_format(d, 0, part, sizeof part), n);
  assert_memory_equal(part, text, 9);
  assert_int_equal(part[9], 0);
  free(text);
  attnc_diags_release(d);
}

static void
no_diags_is_fine(void **state)
{
  (void)state;
  char text[8] = "unset";
  diags_source(NULL, "f", "t", 1);
  diags_error(NULL, (Place){1, 1, 1}, 1, NULL, "m");
  assert_int_equal(diags_errors(NULL), 0);
  assert_int_equal(attnc_diags_count(NULL), 0);
  assert_int_equal(attnc_diags_format(NULL, 0, text, sizeof text), 0);
  assert_string_equal(text, "");
  assert_int_equal(attnc_diags_create(NULL), ATTNC_ERR_USAGE);
  attnc_diags_release(NULL);
}

/* ---- SHA-256 ---- */

static void
sha_of(const void *data, size_t n, const char *want)
{
  char hex[65];
  sha256_hex(data, n, hex);
  assert_string_equal(hex, want);
}

static void
sha256_vectors(void **state)
{
  (void)state;
  /* FIPS 180-4 examples, and the million of the same letter. */
  const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  sha_of("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  sha_of("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  sha_of(two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  char *many = malloc(1000000);
  memset(many, 'a', 1000000);
  sha_of(many, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(many);
}

static void
sha256_in_pieces(void **state)
{
  (void)state;
  unsigned char data[300], digest[32];
  char whole[65], pieces[65];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (unsigned char)(i * 7);
  for (size_t n = 0; n <= sizeof data; n++) {
    Sha256 s;
    sha256_start(&s);
    for (size_t at = 0, step = 1; at < n; at += step, step = step % 70 + 1)
      sha256_add(&s, data + at, step < n - at ? step : n - at);
    sha256_end(&s, digest);
    sha256_digest_hex(digest, pieces);
    sha256_hex(data, n, whole);
    assert_string_equal(pieces, whole);
  }
}

static void
digest_of_fields(const char *l1, const char *v1, const char *l2, const char *v2,
                 char hex[65])
{
  Sha256 s;
  unsigned char digest[32];
  sha256_start(&s);
  sha256_field(&s, l1, v1, strlen(v1));
  sha256_field(&s, l2, v2, strlen(v2));
  sha256_end(&s, digest);
  sha256_digest_hex(digest, hex);
}

static void
sha256_fields_keep_their_borders(void **state)
{
  (void)state;
  char a[65], b[65], c[65], d[65];
  digest_of_fields("ab", "cd", "ef", "gh", a);
  digest_of_fields("a", "bcd", "ef", "gh", b);
  digest_of_fields("ab", "cde", "f", "gh", c);
  digest_of_fields("ab", "cd", "ef", "gh", d);
  assert_string_not_equal(a, b);
  assert_string_not_equal(a, c);
  assert_string_equal(a, d);
}

/* ---- files ---- */

static char folder[64];

static int
make_folder(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/attnc-base-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int
remove_folder(void **state)
{
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static const char *
in_folder(const char *name)
{
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static int
files_in_folder(void)
{
  int n = 0;
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  for (struct dirent *e; (e = readdir(dir));)
    n += e->d_name[0] != '.';
  closedir(dir);
  return n;
}

static void
reads_as(const char *path, const char *want)
{
  char *text;
  size_t n;
  assert_int_equal(file_read(path, 1 << 20, &text, &n, NULL), ATTNC_OK);
  assert_int_equal(n, strlen(want));
  assert_string_equal(text, want);
  free(text);
}

static void
file_is_written_and_replaced(void **state)
{
  (void)state;
  const char *path = in_folder("entry");
  attnc_error e = {0};
  assert_int_equal(file_write(path, "one", 3, &e), ATTNC_OK);
  reads_as(path, "one");
  assert_int_equal(file_write(path, "", 0, &e), ATTNC_OK);
  reads_as(path, "");
  assert_int_equal(files_in_folder(), 1); /* no temporary is left behind */
  struct stat st;
  mode_t mask = umask(022);
  umask(mask);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
}

static void
file_larger_than_allowed_is_refused(void **state)
{
  (void)state;
  const char *path = in_folder("large");
  char *text = NULL;
  size_t n;
  attnc_error e = {0};
  char *big = calloc(1, 200000);
  assert_int_equal(file_write(path, big, 200000, &e), ATTNC_OK);
  assert_int_equal(file_read(path, 199999, &text, &n, &e), ATTNC_ERR_IO);
  assert_null(text);
  assert_non_null(strstr(e.message, "199999"));
  assert_int_equal(file_read(path, 200000, &text, &n, &e), ATTNC_OK);
  assert_int_equal(n, 200000);
  assert_int_equal(text[n], 0);
  assert_memory_equal(text, big, n);
  free(text);
  free(big);
}

static void
file_failures_say_what_failed(void **state)
{
  (void)state;
  char *text;
  size_t n;
  attnc_error e;
  assert_int_equal(file_read(in_folder("no/such"), 10, &text, &n, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "/no/such: No such file or directory"));
  assert_int_equal(file_read(folder, 10, &text, &n, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "Is a directory"));
  assert_int_equal(file_write(in_folder("no/such"), "x", 1, &e), ATTNC_ERR_IO);
  assert_int_equal(strncmp(e.message, "create ", 7), 0);
  assert_int_equal(file_write(folder, "x", 1, &e), ATTNC_ERR_IO);
  assert_int_equal(files_in_folder(), 0);
}

static void
file_write_keeps_devices_and_links(void **state)
{
  (void)state;
  struct stat st;
  assert_int_equal(file_write_stream("/dev/null", "x", 1, NULL), ATTNC_OK);
  assert_int_equal(stat("/dev/null", &st), 0);
  assert_true(S_ISCHR(st.st_mode));
  char target[256];
  snprintf(target, sizeof target, "%s", in_folder("target"));
  assert_int_equal(file_write(target, "old", 3, NULL), ATTNC_OK);
  const char *link = in_folder("link");
  assert_int_equal(symlink(target, link), 0);
  assert_int_equal(file_write(link, "new", 3, NULL), ATTNC_OK);
  assert_int_equal(lstat(link, &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  reads_as(target, "new");
}

/* A link that another user left where all may write is a trap; the directory's owner's and
 * our own are not.  Needs root, to make what another user would. */
static void
links_of_others_are_not_followed(void **state)
{
  (void)state;
  attnc_error e = {0};
  char target[256], link[256];
  snprintf(target, sizeof target, "%s", in_folder("target"));
  snprintf(link, sizeof link, "%s", in_folder("link"));
  assert_int_equal(file_write(target, "kept", 4, NULL), ATTNC_OK);
  assert_int_equal(symlink("target", link), 0);
  assert_int_equal(chmod(folder, 01777), 0);
  assert_int_equal(file_write(link, "ours", 4, NULL), ATTNC_OK);
  reads_as(target, "ours");
  if (lchown(link, 65534, 65534))
    skip();
  assert_int_equal(file_write(link, "x", 1, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "a link of another user"));
  assert_int_equal(file_write_stream(link, "x", 1, &e), ATTNC_ERR_IO);
  reads_as(target, "ours");
  unlink(target); /* nor is a file made where a link leads */
  assert_int_equal(file_write(link, "x", 1, &e), ATTNC_ERR_IO);
  assert_int_equal(access(target, F_OK), -1);
  assert_int_equal(chmod(folder, 0700), 0);
  assert_int_equal(file_write(link, "new", 3, NULL), ATTNC_OK);
  reads_as(target, "new");
  assert_int_equal(symlink("round", in_folder("round")), 0);
  assert_int_equal(file_write(in_folder("round"), "x", 1, &e), ATTNC_ERR_IO);
}

/* Nobody waits at a FIFO that somebody put in a file's place; who names one means it. */
static void
pipes_in_the_place_of_files(void **state)
{
  (void)state;
  attnc_error e = {0};
  struct stat st;
  char *text, pipe_path[256];
  size_t n;
  snprintf(pipe_path, sizeof pipe_path, "%s", in_folder("pipe"));
  assert_int_equal(mkfifo(pipe_path, 0600), 0);
  alarm(30);
  assert_int_equal(file_read(pipe_path, 100, &text, &n, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "not a regular file"));
  assert_int_equal(file_read("/dev/zero", 100, &text, &n, &e), ATTNC_ERR_IO);
  int fd = open(pipe_path, O_RDWR);
  assert_int_equal(file_write_stream(pipe_path, "through", 7, &e), ATTNC_OK);
  char got[8] = "";
  assert_int_equal(read(fd, got, 7), 7);
  assert_string_equal(got, "through");
  close(fd);
  assert_int_equal(file_write(pipe_path, "replaced", 8, &e), ATTNC_OK);
  assert_int_equal(lstat(pipe_path, &st), 0);
  assert_true(S_ISREG(st.st_mode));
  reads_as(pipe_path, "replaced");
  alarm(0);
}

/* /dev/stdout is a link to a link that leads to no path. */
static void
standard_output_can_be_named(void **state)
{
  (void)state;
  int ends[2];
  char path[64], got[8] = "";
  assert_int_equal(pipe(ends), 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
  assert_int_equal(symlink(path, in_folder("out")), 0);
  assert_int_equal(file_write_stream(in_folder("out"), "through", 7, NULL), ATTNC_OK);
  assert_int_equal(read(ends[0], got, 7), 7);
  assert_string_equal(got, "through");
  close(ends[0]);
  close(ends[1]);
}

enum { WRITER_ROUNDS = 40, WRITER_BYTES = 300000 };

static void *
write_same_letter(void *letter)
{
  char *text = malloc(WRITER_BYTES);
  memset(text, *(char *)letter, WRITER_BYTES);
  for (int i = 0; i < WRITER_ROUNDS; i++)
    file_write(in_folder("shared"), text, WRITER_BYTES, NULL);
  free(text);
  return NULL;
}

/* Two writers and a reader of one path: whoever reads sees one writer's whole text. */
static void
file_is_never_seen_half_written(void **state)
{
  (void)state;
  char a = 'a', b = 'b';
  char path[256];
  snprintf(path, sizeof path, "%s", in_folder("shared"));
  assert_int_equal(file_write(path, "", 0, NULL), ATTNC_OK);
  pthread_t writers[2];
  assert_int_equal(pthread_create(&writers[0], NULL, write_same_letter, &a), 0);
  assert_int_equal(pthread_create(&writers[1], NULL, write_same_letter, &b), 0);
  for (int i = 0; i < 200; i++) {
    char *text;
    size_t n;
    assert_int_equal(file_read(path, WRITER_BYTES, &text, &n, NULL), ATTNC_OK);
    assert_true(n == 0 || n == WRITER_BYTES);
    for (size_t j = 1; j < n; j++)
      if (text[j] != text[0])
        fail_msg("byte %zu is of another writer", j);
    free(text);
  }
  pthread_join(writers[0], NULL);
  pthread_join(writers[1], NULL);
  assert_int_equal(files_in_folder(), 1);
}

static void
file_reads_standard_input(void **state)
{
  (void)state;
  int ends[2], saved = dup(STDIN_FILENO);
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], "piped", 5), 5);
  close(ends[1]);
  dup2(ends[0], STDIN_FILENO);
  close(ends[0]);
  char *text;
  size_t n;
  assert_int_equal(file_read_stream("-", 100, &text, &n, NULL), ATTNC_OK);
  assert_string_equal(text, "piped");
  free(text);
  dup2(saved, STDIN_FILENO);
  close(saved);
}

static void
directories_are_made(void **state)
{
  (void)state;
  attnc_error e;
  struct stat st;
  assert_int_equal(file_mkdirs(in_folder("a/b//c/"), &e), ATTNC_OK);
  assert_int_equal(file_mkdirs(in_folder("a/b/c"), &e), ATTNC_OK); /* once more */
  assert_int_equal(stat(in_folder("a/b/c"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  assert_int_equal(file_write(in_folder("file"), "", 0, &e), ATTNC_OK);
  assert_int_equal(file_mkdirs(in_folder("file"), &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "not a directory"));
  assert_int_equal(file_mkdirs(in_folder("file/below"), &e), ATTNC_ERR_IO);
  assert_int_equal(file_mkdirs("/proc/none/such", &e), ATTNC_ERR_IO);
  assert_int_equal(file_mkdirs("/", &e), ATTNC_OK);
}

/* ---- environment ---- */

static void
environment_is_read(void **state)
{
  (void)state;
  unsetenv("ATTNC_LOG");
  assert_null(env_get(ENV_LOG));
  setenv("ATTNC_LOG", "", 1);
  assert_null(env_get(ENV_LOG));
  setenv("ATTNC_LOG", "debug", 1);
  assert_string_equal(env_get(ENV_LOG), "debug");
  unsetenv("ATTNC_LOG");
  for (int i = 0; i < ENV_COUNT; i++) {
    assert_true(str_starts(env_table[i].name, "ATTNC_"));
    assert_true(strlen(env_table[i].text) > 10);
    for (int j = 0; j < i; j++)
      assert_false(str_eq(env_table[i].name, env_table[j].name));
  }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_gives_aligned_zeroes),
      cmocka_unit_test(arena_limit_without_a_catch_is_null),
      cmocka_unit_test(arena_limit_jumps_to_the_catch),
      cmocka_unit_test(arena_texts),
      cmocka_unit_test(vec_grows_and_keeps),
      cmocka_unit_test(vec_says_no_when_memory_ends),
      cmocka_unit_test(str_builds),
      cmocka_unit_test(str_keeps_its_text_when_memory_ends),
      cmocka_unit_test(str_json_escapes),
      cmocka_unit_test(str_utf8_lengths),
      cmocka_unit_test(str_nearest_knows_slips_from_other_words),
      cmocka_unit_test(statuses_are_named),
      cmocka_unit_test(errors_are_filled),
      cmocka_unit_test(try_returns_failures_only),
      cmocka_unit_test(diag_shows_place_line_and_help),
      cmocka_unit_test(diag_is_data),
      cmocka_unit_test(diag_expands_tabs),
      cmocka_unit_test(diag_counts_characters_not_bytes),
      cmocka_unit_test(diag_steers_no_terminal),
      cmocka_unit_test(diag_cuts_long_lines),
      cmocka_unit_test(diag_colours_change_nothing_else),
      cmocka_unit_test(diag_without_a_place),
      cmocka_unit_test(diag_points_past_the_end_of_a_line),
      cmocka_unit_test(diags_keep_fifty_and_count_the_rest),
      cmocka_unit_test(no_diags_is_fine),
      cmocka_unit_test(sha256_vectors),
      cmocka_unit_test(sha256_in_pieces),
      cmocka_unit_test(sha256_fields_keep_their_borders),
      IN_FOLDER(file_is_written_and_replaced),
      IN_FOLDER(file_larger_than_allowed_is_refused),
      IN_FOLDER(file_failures_say_what_failed),
      IN_FOLDER(file_write_keeps_devices_and_links),
      IN_FOLDER(links_of_others_are_not_followed),
      IN_FOLDER(pipes_in_the_place_of_files),
      IN_FOLDER(standard_output_can_be_named),
      IN_FOLDER(file_is_never_seen_half_written),
      cmocka_unit_test(file_reads_standard_input),
      IN_FOLDER(directories_are_made),
      cmocka_unit_test(environment_is_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
