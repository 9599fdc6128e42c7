/* counters=zero: what kernels count in, and have not set back when the host waits. */
#include "tests/unit/emu_kit.h"

#define TICKET "atom.global.add.u32 %r4, [%rd1], 1;\n"
/* The last of the CTAs. */
#define LAST                                                                               \
  "mov.u32 %r3, %nctaid.x; sub.u32 %r3, %r3, 1; setp.ne.u32 %p1, %r4, %r3;\n"              \
  "@%p1 bra DONE;\n"
#define BACK "st.global.u32 [%rd1], 0;\n"

static const char left[] = KIT(TICKET LAST "DONE:\n");
static const char back[] = KIT(TICKET LAST BACK "DONE:\n");
static const char wraps[] = KIT("atom.global.inc.u32 %r4, [%rd1], 3;\n");
static const char adds[] = KIT("red.global.add.f32 [%rd1+8], 0f3f800000;\n"
                               "red.global.max.u32 [%rd1+4], 7;\n");
static const char both[] = KIT("red.global.add.u32 [%rd1], 1;\n"
                               "red.global.add.u64 [%rd1+8], 1;\n");

static CUdeviceptr p;

static void
launch(const char *ptx, CUstream stream)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  OK(cuLaunchKernel(f, 4, 1, 1, 1, 1, 1, 0, stream, (void *[]){&p}, NULL));
  OK(cuModuleUnload(m));
}

static int
setup(void **state)
{
  (void)state;
  kit_set("counters=zero");
  OK(cuMemAlloc_v2(&p, 64));
  OK(cuMemsetD8_v2(p, 0, 64));
  OK(cuCtxSynchronize());
  kit_findings();
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  kit_set("counters=any");
  return cuMemFree_v2(p) != CUDA_SUCCESS;
}

static void
set_back(void **state)
{
  (void)state;
  launch(back, NULL);
  launch(wraps, NULL);
  launch(adds, NULL); /* results, not counts */
  OK(cuCtxSynchronize());
  kit_no_findings();
}

static void
not_set_back(void **state)
{
  char line[60];
  (void)state;
  launch(left, NULL);
  kit_no_findings(); /* more launches may follow */
  OK(cuCtxSynchronize());
  snprintf(line, sizeof line, "0x%llx is 4 and not 0", (unsigned long long)p);
  const char *text = kit_findings();
  if (!strstr(text, "error[counter-left]") || !strstr(text, line) || !strstr(text, "(k)"))
    fail_msg("%s", text);
  OK(cuCtxSynchronize()); /* it is told once */
  kit_no_findings();
  launch(both, NULL);
  OK(cuCtxSynchronize());
  kit_found("is 8 and not 0");
  launch(both, NULL);
  OK(cuCtxSynchronize());
  kit_found("208 is 8 and not 0"); /* 64 bits */
}

/* By a launch or a memset behind it, before the host waits. */
static void
later(void **state)
{
  (void)state;
  launch(left, NULL);
  OK(cuMemsetD8_v2(p, 0, 4));
  OK(cuCtxSynchronize());
  kit_no_findings();
}

static void
each_wait(void **state)
{
  CUstream s;
  CUevent e;
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&e, CU_EVENT_DEFAULT));
  launch(left, s);
  OK(cuStreamSynchronize(s));
  kit_found("counter-left");
  launch(left, s);
  OK(cuEventRecord(e, s));
  OK(cuEventSynchronize(e));
  kit_found("counter-left");
  OK(cuEventDestroy_v2(e));
  OK(cuStreamDestroy_v2(s));
}

static void
only_on_request(void **state)
{
  CUdeviceptr was = p;
  (void)state;
  kit_set("counters=any");
  launch(left, NULL);
  OK(cuCtxSynchronize());
  kit_no_findings();
  kit_set("counters=zero");
  OK(cuMemAlloc_v2(&p, 64)); /* of memory that is gone nothing is told */
  OK(cuMemsetD8_v2(p, 0, 64));
  launch(left, NULL);
  OK(cuMemFree_v2(p));
  p = was;
  OK(cuCtxSynchronize());
  kit_no_findings();
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {TEST(set_back), TEST(not_set_back), TEST(later),
                                     TEST(each_wait), TEST(only_on_request)};
  kit_start("arch=sm_80");
  return cmocka_run_group_tests_name("emu_counters", tests, NULL, NULL);
}
