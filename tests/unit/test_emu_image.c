/* Code as a program hands it over: PTX text, and fat binaries of every kind. */
#include "emulator/driver/image.h"
#include "tests/unit/emu_kit.h"

enum { KIND_PTX = 1, KIND_ELF = 2, LZ4 = 0x2000, ZSTD = 0x8000 };
enum { MAX = 1 << 16, HEADER = 64, MORE = 8 };

/* A container that is being written, part by part. */
typedef struct Box {
  uint8_t bytes[MAX];
  size_t n;
} Box;

static void
put(Box *b, size_t at, uint64_t value, int bytes)
{
  for (int i = 0; i < bytes; i++)
    b->bytes[at + (size_t)i] = (uint8_t)(value >> 8 * i);
}

static Box
box(void)
{
  Box b = {.n = 16};
  put(&b, 0, 0xba55ed50, 4);
  put(&b, 4, 1, 2);
  put(&b, 6, 16, 2);
  return b;
}

/* Some parts have names and options behind their 64 bytes. */
static void
part(Box *b, int kind, int arch, uint64_t flags, const void *data, size_t n, size_t plain)
{
  size_t at = b->n, padded = (n + 7) / 8 * 8;
  assert_true(at + HEADER + MORE + padded < MAX);
  memset(b->bytes + at, 0, HEADER + MORE + padded);
  put(b, at, (uint64_t)kind, 2);
  put(b, at + 2, 0x101, 2);
  put(b, at + 4, HEADER + MORE, 4);
  put(b, at + 8, padded, 8);
  put(b, at + 16, flags & LZ4 ? n : 0, 4);
  put(b, at + 28, (uint64_t)arch, 4);
  put(b, at + 40, flags, 8);
  put(b, at + 56, plain, 8);
  memcpy(b->bytes + at + HEADER + MORE, data, n);
  b->n = at + HEADER + MORE + padded;
  put(b, 8, b->n - 16, 8);
}

static void
ptx(Box *b, const char *version, const char *target)
{
  char text[300];
  int n = snprintf(text, sizeof text,
                   "\n\n.version %s\n.target %s\n.address_size 64\n.visible .entry "
                   "of_%s() { ret; }\n",
                   version, target, target);
  part(b, KIND_PTX, atoi(target + 3), 0x11, text, (size_t)n, 0);
}

/* Loads it, and says which of the texts it was. */
static const char *
chosen(const void *data)
{
  CUmodule m;
  CUfunction f;
  char log[600];
  static char name[100];
  const char *s;
  if (kit_load(data, &m, log, sizeof log))
    fail_msg("%s", log);
  OK(cuModuleEnumerateFunctions(&f, 1, m));
  OK(cuFuncGetName(&s, f));
  snprintf(name, sizeof name, "%s", s);
  OK(cuModuleUnload(m));
  return name;
}

static void
highest_that_fits(void **state)
{
  Box b = box();
  (void)state;
  ptx(&b, "7.0", "sm_75");
  assert_string_equal(chosen(b.bytes), "of_sm_75");
  ptx(&b, "8.0", "sm_90");
  ptx(&b, "7.0", "sm_80");
  assert_string_equal(chosen(b.bytes), "of_sm_90");
  ptx(&b, "8.8", "sm_100");
  ptx(&b, "8.8", "sm_100f");
  ptx(&b, "8.8", "sm_120a");
  assert_string_equal(chosen(b.bytes), "of_sm_90");
  ptx(&b, "8.0", "sm_90a");
  assert_string_equal(chosen(b.bytes), "of_sm_90a");
  part(&b, KIND_ELF, 90, 0x11, "\177ELF", 4, 0);
  assert_string_equal(chosen(b.bytes), "of_sm_90a");
}

/* As a compiled program registers it. */
static void
wrapped(void **state)
{
  struct {
    int magic, version;
    const void *data;
    void *other;
  } w = {0x466243b1, 1, NULL, NULL};
  Box b = box();
  CUmodule m;
  CUfunction f;
  (void)state;
  ptx(&b, "7.0", "sm_80");
  w.data = b.bytes;
  assert_string_equal(chosen(&w), "of_sm_80");
  OK(cuModuleLoadFatBinary(&m, &w));
  OK(cuModuleGetFunction(&f, m, "of_sm_80"));
  OK(cuModuleUnload(m));
  w.data = NULL;
  assert_int_equal(cuModuleLoadData(&m, &w), CUDA_ERROR_INVALID_IMAGE);
  kit_found("neither PTX text nor a fat binary");
}

static void
refuse(const Box *b, CUresult want, const char *why)
{
  CUmodule m;
  char log[600];
  assert_int_equal(kit_load((const char *)b->bytes, &m, log, sizeof log), want);
  if (!strstr(log, why))
    fail_msg("no '%s' in: %s", why, log);
  kit_no_findings();
  assert_int_equal(cuModuleLoadData(&m, b->bytes), want); /* with nowhere to log to */
  kit_found(why);
}

static void
none_fits(void **state)
{
  Box b = box();
  (void)state;
  refuse(&b, CUDA_ERROR_NO_BINARY_FOR_GPU, "has no code");
  part(&b, KIND_ELF, 80, 0x11, "\177ELF", 4, 0);
  refuse(&b, CUDA_ERROR_NO_BINARY_FOR_GPU,
         "machine code for sm_80 and no PTX: build with nvcc -gencode "
         "arch=compute_90,code=compute_90");
  ptx(&b, "8.8", "sm_100");
  ptx(&b, "8.8", "sm_120a");
  refuse(&b, CUDA_ERROR_NO_BINARY_FOR_GPU, "none of the 2 PTX texts");
  part(&b, KIND_PTX, 80, 0x11 | ZSTD, "\x28\xb5\x2f\xfd", 4, 100);
  refuse(&b, CUDA_ERROR_INVALID_IMAGE, "compressed by zstd");
  b = box();
  part(&b, KIND_PTX, 80, 0x11, "no target", 9, 0);
  refuse(&b, CUDA_ERROR_INVALID_IMAGE, "is damaged");
}

static void
no_image(void **state)
{
  CUmodule m;
  char log[600];
  (void)state;
  assert_int_equal(kit_load("\177ELF....", &m, log, sizeof log),
                   CUDA_ERROR_NO_BINARY_FOR_GPU);
  assert_non_null(strstr(log, "machine code"));
  assert_int_equal(kit_load("", &m, log, sizeof log), CUDA_ERROR_INVALID_IMAGE);
  assert_int_equal(cuModuleLoad(&m, "/nowhere"), CUDA_ERROR_FILE_NOT_FOUND);
  kit_findings();
}

/* Sizes that lead out of the container, at every place where one stands. */
static void
damaged(void **state)
{
  static const struct {
    size_t at;
    int bytes;
    uint64_t value;
  } cuts[] = {{6, 2, 8},           {8, 8, 63},          {16 + 4, 4, 63},
              {16 + 4, 4, 0x7fff}, {16 + 8, 8, 0x7fff}, {16 + 8, 8, UINT64_MAX}};
  (void)state;
  for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
    Box b = box();
    ptx(&b, "7.0", "sm_80");
    put(&b, cuts[i].at, cuts[i].value, cuts[i].bytes);
    refuse(&b, CUDA_ERROR_INVALID_IMAGE, "is damaged");
  }
}

/* ---- LZ4 ---- */

/* Blocks by hand: the bytes of each token, its literals, its offset, its lengths. */
typedef struct Sample {
  const char *block;
  size_t size;
  const char *plain;
} Sample;
#define BLOCK(text) text, sizeof text - 1

static const Sample good[] = {
    {BLOCK("\x00"), ""},
    {BLOCK("\x50hello"), "hello"},
    {BLOCK("\x13"
           "a\x01\x00"
           "\x10"
           "b"),
     "aaaaaaaab"}, /* a match that overlaps what it makes */
    {BLOCK("\x40"
           "abcd\x04\x00"
           "\x20"
           "xy"),
     "abcdabcdxy"},
    {BLOCK("\xf0\x01"
           "0123456789abcdef"),
     "0123456789abcdef"}, /* 15 + 1 literals */
    {BLOCK("\x1f"
           "z\x01\x00\x02"
           "\x10"
           "!"),
     "zzzzzzzzzzzzzzzzzzzzzz!"}, /* a match of 4 + 15 + 2 */
};

static const Sample bad[] = {
    {BLOCK("\x50hell"), "hello"}, /* literals that are not there */
    {BLOCK("\x10"
           "a\x02\x00"),
     "aaaaa"}, /* from before the start */
    {BLOCK("\x10"
           "a\x00\x00"),
     "aaaaa"}, /* from nowhere */
    {BLOCK("\x10"
           "a\x01"),
     "aaaaa"},                           /* half an offset */
    {BLOCK("\xf0"), "0123456789abcdef"}, /* no length */
    {BLOCK("\x50hello"), "hell"},        /* too long */
    {BLOCK("\x50hello"), "hello!"},      /* too short */
    {BLOCK("\x1f"
           "a\x01\x00\xff"),
     "aaaa"}, /* a length without an end */
};

static void
blocks(void **state)
{
  uint8_t out[100];
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    size_t n = strlen(good[i].plain);
    if (!lz4_decode((const uint8_t *)good[i].block, good[i].size, out, n) ||
        memcmp(out, good[i].plain, n))
      fail_msg("good block %zu", i);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (lz4_decode((const uint8_t *)bad[i].block, bad[i].size, out, strlen(bad[i].plain)))
      fail_msg("bad block %zu", i);
}

/* Literals alone make a block as well. */
static void
compressed(void **state)
{
  static const char text[] = ".version 7.0\n.target sm_80\n.address_size 64\n.visible "
                             ".entry packed() { ret; }\n";
  uint8_t block[200] = {0xf0, sizeof text - 1 - 15};
  Box b = box();
  (void)state;
  memcpy(block + 2, text, sizeof text - 1);
  ptx(&b, "7.0", "sm_75");
  part(&b, KIND_PTX, 80, 0x11 | LZ4, block, sizeof text + 1, sizeof text - 1);
  assert_string_equal(chosen(b.bytes), "packed");
  b = box();
  part(&b, KIND_PTX, 80, 0x11 | LZ4, block, sizeof text - 2, sizeof text - 1);
  refuse(&b, CUDA_ERROR_INVALID_IMAGE, "is damaged");
}

static void
from_a_file(void **state)
{
  char path[] = "/tmp/emu_image_XXXXXX";
  int fd = mkstemp(path);
  FILE *f = fdopen(fd, "wb");
  CUmodule m;
  CUfunction k;
  (void)state;
  assert_non_null(f);
  fputs(KIT(""), f);
  fclose(f);
  OK(cuModuleLoad(&m, path));
  OK(cuModuleGetFunction(&k, m, "k"));
  OK(cuModuleUnload(m));
  remove(path);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(highest_that_fits), cmocka_unit_test(wrapped),
      cmocka_unit_test(none_fits),         cmocka_unit_test(no_image),
      cmocka_unit_test(damaged),           cmocka_unit_test(blocks),
      cmocka_unit_test(compressed),        cmocka_unit_test(from_a_file),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
