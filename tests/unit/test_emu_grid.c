/* Kernels of one stream with programmatic serialization: what the later one may touch
 * before and after griddepcontrol.wait. */
#include "tests/unit/emu_kit.h"

#define KERNEL(body)                                                                       \
  KIT_HEAD("8.0", "sm_90")                                                                 \
  KIT_ENTRY "setp.lt.u32 %p1, %r1, 32; xor.b32 %r2, %r1, 32;\n"                            \
            "mul.wide.u32 %rd3, %r2, 4; add.s64 %rd3, %rd1, %rd3;\n" body "ret;\n}\n"
#define WAIT    "griddepcontrol.wait;\n"
#define TRIGGER "griddepcontrol.launch_dependents;\n"
#define STORE   "st.global.u32 [%rd2], %r1;\n"
#define LOAD    "ld.global.u32 %r3, [%rd2];\n"
#define OTHER   "ld.global.u32 %r3, [%rd3];\n" /* what the other warp has */
#define NOTHING "mov.u32 %r3, 1;\n"

enum { KERNELS = 3, BYTES = 256 };
typedef enum Between { NO_OP, SYNC_STREAM, SYNC_ALL, COPY, OTHER_STREAM } Between;

typedef struct Case {
  const char *ptx[KERNELS]; /* in order; all but the first may start early */
  bool plain;               /* no attribute */
  Between between;          /* the last two */
  const char *found;        /* NULL: nothing */
} Case;

static const Case cases[] = {
    {{KERNEL(TRIGGER STORE), KERNEL(WAIT LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL(LOAD)}, false, NO_OP, "reads global memory"},
    {{KERNEL(STORE), KERNEL(LOAD WAIT)}, false, NO_OP, "error[grid-dependency]"},
    {{KERNEL(STORE), KERNEL(LOAD)}, true, NO_OP, NULL},
    {{KERNEL(LOAD), KERNEL(STORE)},
     false,
     NO_OP,
     "which kernel k before it reads, and may still be running"},
    {{KERNEL(LOAD), KERNEL(WAIT STORE)}, false, NO_OP, NULL},
    {{KERNEL(LOAD), KERNEL(LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL("atom.global.add.u32 %r3, [%rd2], 1;\n")},
     false,
     NO_OP,
     "updates global memory"},
    /* one warp waits, and tells the other */
    {{KERNEL(STORE), KERNEL("@%p1 " WAIT "bar.sync 0;\n" OTHER)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL("@%p1 " WAIT OTHER)}, false, NO_OP, "error[grid-dependency]"},
    {{KERNEL(STORE), KERNEL("bar.sync 0;\n@%p1 " WAIT OTHER)},
     false,
     NO_OP,
     "error[grid-dependency]"},
    {{KERNEL("red.global.add.u32 [%rd2], 1;\n"), KERNEL("red.global.add.u32 [%rd2], 1;\n")},
     false,
     NO_OP,
     NULL},
    /* what comes between makes the later one wait; a copy is the legacy stream's, and this
     * one is not behind that */
    {{KERNEL(STORE), KERNEL(LOAD)}, false, SYNC_STREAM, NULL},
    {{KERNEL(STORE), KERNEL(LOAD)}, false, SYNC_ALL, NULL},
    {{KERNEL(STORE), KERNEL(LOAD)}, false, COPY, "the host reads"},
    {{KERNEL(STORE), KERNEL(LOAD)}, false, OTHER_STREAM, "error[stream-order]"},
    /* three: the wait is for the one before, not for the one before that */
    {{KERNEL(STORE), KERNEL(NOTHING), KERNEL(WAIT LOAD)},
     false,
     NO_OP,
     "error[grid-dependency]"},
    {{KERNEL(STORE), KERNEL(WAIT), KERNEL(WAIT LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL(WAIT), KERNEL(LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL(WAIT TRIGGER), KERNEL(LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL(TRIGGER WAIT), KERNEL(LOAD)},
     false,
     NO_OP,
     "error[grid-dependency]"},
    {{KERNEL(STORE), KERNEL(TRIGGER WAIT), KERNEL(WAIT LOAD)}, false, NO_OP, NULL},
    {{KERNEL(STORE), KERNEL(NOTHING), KERNEL(LOAD)},
     false,
     NO_OP,
     "error[grid-dependency]"},
};

static void
come_between(Between what, CUdeviceptr p, CUstream *s)
{
  uint32_t word;
  if (what == SYNC_STREAM)
    OK(cuStreamSynchronize(*s));
  if (what == SYNC_ALL)
    OK(cuCtxSynchronize());
  if (what == COPY)
    OK(cuMemcpyDtoH_v2(&word, p, sizeof word));
  if (what == OTHER_STREAM)
    *s = NULL;
}

static CUresult
launch_all(const Case *c, CUdeviceptr p, CUstream s)
{
  CUresult r = CUDA_SUCCESS;
  for (int i = 0; i < KERNELS && c->ptx[i] && !r; i++) {
    CUmodule m;
    CUfunction f = kit_function(c->ptx[i], &m);
    bool last = i == KERNELS - 1 || !c->ptx[i + 1];
    CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    a.value.programmaticStreamSerializationAllowed = 1;
    if (last)
      come_between(c->between, p, &s);
    CUlaunchConfig l = {.gridDimX = 1,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = 64,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .hStream = s,
                        .attrs = &a,
                        .numAttrs = i && !c->plain};
    r = cuLaunchKernelEx(&l, f, (void *[]){&p}, NULL);
    OK(cuModuleUnload(m));
  }
  return r;
}

static void
streams(void **state)
{
  static uint32_t zeros[BYTES / 4];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CUstream s;
    CUdeviceptr p;
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc_v2(&p, BYTES));
    OK(cuMemcpyHtoD_v2(p, zeros, BYTES));
    OK(launch_all(&cases[i], p, s));
    OK(cuStreamDestroy_v2(s));
    OK(cuMemFree_v2(p));
    const char *text = kit_findings();
    if (cases[i].found ? !strstr(text, cases[i].found) : *text)
      fail_msg("case %zu: %s", i, text);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(streams),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
