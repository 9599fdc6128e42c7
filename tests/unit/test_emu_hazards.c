/* Hazards in real PTX: each kernel is wrong by one line, and is told so with the line; with
 * that line put right, nothing is said.  "!" begins a line that only the right one has, "?"
 * one that only the wrong one has. */
#include "tests/unit/emu_kit.h"

enum { BYTES = 65536, THREADS = 128 };

typedef struct Hazard {
  const char *name;  /* "error[name]" */
  const char *at;    /* text of the line that is named */
  const char *other; /* text of the line that the message mentions; NULL: none */
  const char *body;
  unsigned ctas;
} Hazard;

/* %r1 thread, %r3 its place in shared memory, %rd2 its place in the buffer. */
#define SHARED                                                                             \
  ".shared .align 16 .b8 s[8192];\n"                                                       \
  "mov.u32 %r2, s;\n"                                                                      \
  "shl.b32 %r4, %r1, 4;\n"                                                                 \
  "add.s32 %r3, %r2, %r4;\n"                                                               \
  "cvt.u64.u32 %rd3, %r4;\n"                                                               \
  "add.s64 %rd4, %rd1, %rd3;\n"
/* Warp 0 does what %p1 guards, warp 1 what %p2 does; warp 0 goes on first. */
#define TWO                                                                                \
  "shr.u32 %r9, %r1, 5;\n"                                                                 \
  "setp.eq.u32 %p1, %r9, 0;\n"                                                             \
  "setp.eq.u32 %p2, %r9, 1;\n"
#define COPY "cp.async.cg.shared.global [%r3], [%rd4], 16;\n"

static const Hazard hazards[] = {
    {"race", "ld.shared.u32 %r5, [%r3+-512];", "st.shared.u32 [%r3], %r1;",
     SHARED "st.shared.u32 [%r3], %r1;\n"
            "!bar.sync 0;\n"
            "setp.lt.u32 %p1, %r1, 32;\n"
            "@%p1 bra done;\n"
            "ld.shared.u32 %r5, [%r3+-512];\n"
            "st.global.u32 [%rd2], %r5;\n"
            "done:\n",
     1},
    {"race", "@%p2 st.shared.u32 [%r3], %r1;", "ld.shared.u32 %r5, [%r3+512];",
     SHARED TWO "st.shared.u32 [%r3], %r1;\n"
                "bar.sync 0;\n"
                "@%p1 ld.shared.u32 %r5, [%r3+512];\n"
                "!bar.sync 0;\n"
                "@%p2 st.shared.u32 [%r3], %r1;\n",
     1},
    {"async-read-before-wait", "ld.shared.u32 %r5, [%r3];",
     "cp.async.cg.shared.global [%r3], [%rd4], 16;",
     SHARED COPY "cp.async.commit_group;\n"
                 "!cp.async.wait_group 0;\n"
                 "ld.shared.u32 %r5, [%r3];\n",
     1},
    {"async-read-before-wait", "@%p1 ld.shared.u32 %r5, [%r3+-512];",
     "cp.async.cg.shared.global [%r3], [%rd4], 16;",
     SHARED COPY "setp.gt.u32 %p1, %r1, 31;\n"
                 "cp.async.wait_all;\n"
                 "!bar.sync 0;\n"
                 "@%p1 ld.shared.u32 %r5, [%r3+-512];\n",
     1},
    {"async-overwrite", "cp.async.ca.shared.global [%r3], [%rd4], 8;",
     "ld.shared.u32 %r5, [%r3+512];",
     SHARED TWO COPY "cp.async.wait_all;\n"
                     "bar.sync 0;\n"
                     "@%p1 ld.shared.u32 %r5, [%r3+512];\n"
                     "!bar.sync 0;\n"
                     "@%p2 cp.async.ca.shared.global [%r3], [%rd4], 8;\n"
                     "cp.async.wait_all;\n",
     1},
    {"async-overwrite", "st.shared.u32 [%r3], %r1;",
     "cp.async.cg.shared.global [%r3], [%rd4], 16;",
     SHARED COPY "!cp.async.wait_all;\n"
                 "st.shared.u32 [%r3], %r1;\n",
     1},
    {"uninitialised-shared", "st.global.u32 [%rd2], %r6;",
     "ld.shared.v2.u32 {%r5, %r6}, [%r3];",
     SHARED "st.shared.u32 [%r3], %r1;\n"
            "!st.shared.u32 [%r3+4], %r1;\n"
            "ld.shared.v2.u32 {%r5, %r6}, [%r3];\n"
            "st.global.u32 [%rd2], %r5;\n"
            "st.global.u32 [%rd2], %r6;\n",
     1},
    {"uninitialised-register", "st.global.u32 [%rd2], %r8;", "add.s32 %r8, %r7, 1;",
     "setp.lt.u32 %p1, %r1, 7;\n"
     "?@%p1 mov.u32 %r7, 5;\n"
     "!mov.u32 %r7, 5;\n"
     "add.s32 %r8, %r7, 1;\n"
     "st.global.u32 [%rd2], %r8;\n",
     1},
    {"cross-cta-conflict", "st.global.u32 [%rd2], %r1;", "st.global.u32 [%rd2], %r1;",
     "mov.u32 %r5, %ctaid.x;\n"
     "!mul.wide.u32 %rd5, %r5, 512;\n"
     "!add.s64 %rd2, %rd2, %rd5;\n"
     "st.global.u32 [%rd2], %r1;\n",
     3},
    {"cross-cta-conflict", "ld.global.u32 %r6, [%rd1];", "red.global.add.u32 [%rd1], 1;",
     "mov.u32 %r5, %ctaid.x;\n"
     "setp.eq.u32 %p1, %r5, 0;\n"
     "@%p1 red.global.add.u32 [%rd1], 1;\n"
     "?ld.global.u32 %r6, [%rd1];\n"
     "!atom.global.add.u32 %r6, [%rd1], 0;\n",
     2},
    {"lane-overlap", "st.shared.u32 [%r2], %r7;", NULL,
     SHARED "setp.gt.u32 %p1, %r1, 31;\n"
            "@%p1 bra done;\n"
            "?mov.u32 %r7, %r1;\n"
            "!mov.u32 %r7, 3;\n"
            "st.shared.u32 [%r2], %r7;\n"
            "done:\n",
     1},
};
enum { HAZARDS = sizeof hazards / sizeof *hazards };

/* The kernel with its wrong lines, or with its right ones. */
static char *
kernel(const Hazard *h, bool right)
{
  static char text[8192];
  char *p = text + sprintf(text, "%s", KIT_HEAD("7.8", "sm_80") KIT_ENTRY);
  for (const char *line = h->body; *line;) {
    size_t n = strcspn(line, "\n") + 1;
    bool marked = *line == '!' || *line == '?';
    if (!marked || (*line == '!') == right)
      p += sprintf(p, "%.*s", (int)(n - marked), line + marked);
    line += n;
  }
  sprintf(p, "ret;\n}\n");
  return text;
}

/* From 1; the last line that ends in this text. */
static int
line_of(const char *text, const char *end)
{
  int line = 1, found = 0;
  for (const char *p = text; *p; line++) {
    size_t n = strcspn(p, "\n"), m = strlen(end);
    if (n >= m && !memcmp(p + n - m, end, m))
      found = line;
    p += n + (p[n] == '\n');
  }
  return found;
}

static CUresult
run(const char *text, unsigned ctas)
{
  static uint8_t buffer[BYTES];
  memset(buffer, 1, sizeof buffer);
  return kit_run(text, ctas, THREADS, 0, buffer, sizeof buffer);
}

static void
test_hazards(void **state)
{
  (void)state;
  for (int k = 0; k < HAZARDS; k++) {
    const Hazard *h = &hazards[k];
    char want[200];
    char *text = kernel(h, false);
    OK(run(text, h->ctas));
    assert_true(line_of(text, h->at) > 0);
    snprintf(want, sizeof want, "ptx:%d: error[%s]: ", line_of(text, h->at), h->name);
    const char *found = kit_findings();
    if (!strstr(found, want) || strchr(found, '\n') != strrchr(found, '\n'))
      fail_msg("hazard %d: not '%s' alone in: %s", k, want, found);
    snprintf(want, sizeof want, "line %d", h->other ? line_of(text, h->other) : 0);
    if (h->other && !strstr(found, want))
      fail_msg("hazard %d: no '%s' in: %s", k, want, found);
    OK(run(kernel(h, true), h->ctas));
    kit_no_findings();
  }
}

/* What is found does not depend on the order in which warps run or copies land. */
static void
test_any_order(void **state)
{
  (void)state;
  static const char *const orders[] = {"sched=rr", "sched=random,seed=3", "async=eager",
                                       "async=random,seed=5", "threads=2"};
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
    kit_set(orders[i]);
    for (int k = 0; k < HAZARDS; k++) {
      char want[100];
      OK(run(kernel(&hazards[k], false), hazards[k].ctas));
      snprintf(want, sizeof want, "error[%s]", hazards[k].name);
      kit_found(want);
      OK(run(kernel(&hazards[k], true), hazards[k].ctas));
      kit_no_findings();
    }
    kit_set("sched=block,async=lazy,threads=1");
  }
}

static void
test_checks_off(void **state)
{
  (void)state;
  kit_set("checks=none");
  for (int k = 0; k < HAZARDS; k++)
    OK(run(kernel(&hazards[k], false), hazards[k].ctas));
  kit_no_findings();
  kit_set("checks=all");
}

/* A missing wait is seen in the values as well: NaN until the copy lands. */
static void
test_poison(void **state)
{
  (void)state;
  static const char body[] =
      KIT(SHARED COPY "ld.shared.u32 %r5, [%r3];\nst.global.u32 [%rd2+32768], %r5;\n");
  static uint8_t buffer[BYTES];
  for (int eager = 0; eager < 2; eager++) {
    memset(buffer, 1, sizeof buffer);
    kit_set(eager ? "async=eager" : "async=lazy");
    OK(kit_run(body, 1, THREADS, 0, buffer, sizeof buffer));
    assert_int_equal(buffer[32768 + 77], eager ? 1 : 0xff);
    kit_found("async-read-before-wait");
  }
  kit_set("async=lazy");
}

/* Device memory is uninitialised until it is written, by the host or by a kernel. */
static void
test_uninitialised_global(void **state)
{
  (void)state;
  static const char body[] =
      KIT("ld.global.u32 %r5, [%rd2];\nst.global.u32 [%rd2+512], %r5;\n");
  CUmodule m;
  CUdeviceptr p;
  CUfunction f = kit_function(body, &m);
  OK(cuMemAlloc_v2(&p, 4096));
  void *args[] = {&p};
  OK(cuMemsetD8_v2(p, 0, 256));
  OK(cuLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, NULL, args, NULL));
  kit_no_findings();
  OK(cuLaunchKernel(f, 1, 1, 1, 65, 1, 1, 0, NULL, args, NULL));
  kit_found("error[uninitialised-global]");
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

static int
setup(void **state)
{
  (void)state;
  kit_start("arch=sm_80,threads=1");
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hazards),
      cmocka_unit_test(test_any_order),
      cmocka_unit_test(test_checks_off),
      cmocka_unit_test(test_poison),
      cmocka_unit_test(test_uninitialised_global),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
