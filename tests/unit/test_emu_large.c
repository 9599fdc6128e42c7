/* Gigabytes of device memory of which little is used. */
#include "tests/unit/emu_kit.h"

#include "emulator/driver/pages.h"

static long
resident_kib(void)
{
  char line[200];
  long kib = -1;
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f))
    sscanf(line, "VmRSS: %ld", &kib);
  fclose(f);
  return kib;
}

enum { LITTLE = 32 << 10 }; /* KiB */

static void
blocks(void **state)
{
  static const uint64_t sizes[] = {
      1, 511, 4096, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 4097};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int zeros = 0; zeros < 2; zeros++) {
      uint8_t *p = pages_new(sizes[i], zeros), *q = pages_new(sizes[i], zeros);
      assert_non_null(p);
      assert_non_null(q);
      assert_int_equal((uintptr_t)p % 512, 0);
      for (uint64_t at = 0; at < sizes[i]; at++)
        if (p[at] != (zeros ? 0 : 0xff))
          fail_msg("byte %llu of %llu is %d", (unsigned long long)at,
                   (unsigned long long)sizes[i], p[at]);
      memset(p, 7, sizes[i]); /* of nobody else */
      for (uint64_t at = 0; at < sizes[i]; at++)
        assert_true(q[at] == (zeros ? 0 : 0xff));
      pages_free(p, sizes[i]);
      pages_free(q, sizes[i]);
    }
}

/* [%rd2 + 2^29] of the variable, of the buffer. */
static const char variable[] = KIT_HEAD("7.8", "sm_80") //
    ".visible .global .align 16 .b8 big[1073741824];\n"
    ".visible .global .b32 begun[200000000] = {5, 6, 7};\n" KIT_ENTRY
    "mov.u64 %rd3, big; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd3, %rd3, %rd4;\n"
    "ld.global.u32 %r2, [%rd3+536870912]; add.u32 %r2, %r2, %r1;\n"
    "st.global.u32 [%rd3+536870912], %r2; ld.global.u32 %r3, [%rd3+536870912];\n"
    "mov.u64 %rd3, begun; ld.global.u32 %r4, [%rd3+8]; ld.global.u32 %r5, [%rd3+12];\n"
    "add.u32 %r3, %r3, %r4; add.u32 %r3, %r3, %r5; st.global.u32 [%rd2], %r3;\nret;\n}\n";

static void
variables(void **state)
{
  uint32_t out[32];
  long before = resident_kib();
  (void)state;
  CUmodule m;
  CUfunction f = kit_function(variable, &m);
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, sizeof out));
  OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  OK(cuMemcpyDtoH_v2(out, p, sizeof out));
  assert_in_range(resident_kib() - before, 0, LITTLE);
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  kit_no_findings();
  for (uint32_t i = 0; i < 32; i++)
    assert_int_equal(out[i], i + 7);
}

/* What nobody wrote is NaN, and told. */
static void
buffers(void **state)
{
  static const char reads[] = KIT("ld.global.u32 %r2, [%rd2+1610612736];\n"
                                  "st.global.u32 [%rd2], %r2;\n");
  uint32_t out[32];
  long before = resident_kib();
  CUmodule m;
  CUfunction f = kit_function(reads, &m);
  CUdeviceptr p, q;
  (void)state;
  OK(cuMemAlloc_v2(&p, (size_t)3 << 30));
  OK(cuMemAlloc_v2(&q, (size_t)3 << 30));
  OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  OK(cuMemcpyDtoH_v2(out, p, sizeof out));
  kit_found("error[uninitialised-global]");
  for (int i = 0; i < 32; i++)
    assert_int_equal(out[i], 0xffffffff);
  OK(cuMemsetD8_v2(p + (1 << 30), 1, 4096));
  OK(cuMemcpyDtoH_v2(out, q + ((size_t)1 << 30), sizeof out));
  assert_int_equal(out[9], 0xffffffff);
  assert_in_range(resident_kib() - before, 0, LITTLE);
  OK(cuMemFree_v2(p));
  OK(cuMemFree_v2(q));
  OK(cuModuleUnload(m));
  assert_in_range(resident_kib(), 0, before + LITTLE);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks),
      cmocka_unit_test(variables),
      cmocka_unit_test(buffers),
  };
  kit_start("arch=sm_80");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
