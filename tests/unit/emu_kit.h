/* emu_kit.h: the bare driver functions of the emulator, for its tests.
 *
 * The objects of the emulator are linked in; a test program that needs other settings than
 * the first one's arch and devices is another program. */
#ifndef ATTNC_TESTS_EMU_KIT_H
#define ATTNC_TESTS_EMU_KIT_H

#include "emulator/driver/device.h"

#include <attnc/attnc_emu.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static inline void
kit_set(const char *settings)
{
  char why[200] = "";
  if (attncEmuConfigure(settings, why, sizeof why))
    fail_msg("%s", why);
}

static inline void
kit_start(const char *settings)
{
  CUcontext c;
  kit_set(settings);
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&c, 0));
  OK(cuCtxSetCurrent(c));
}

/* Loads, and gives the reason where it is refused. */
static inline CUresult
kit_load(const void *ptx, CUmodule *m, char *log, size_t n)
{
  CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *v[] = {log, (void *)(uintptr_t)n};
  log[0] = 0;
  return cuModuleLoadDataEx(m, ptx, 2, o, v);
}

static inline CUfunction
kit_function(const char *ptx, CUmodule *m)
{
  char log[1000];
  CUfunction f;
  if (kit_load(ptx, m, log, sizeof log))
    fail_msg("%s", log);
  OK(cuModuleGetFunction(&f, *m, "k"));
  return f;
}

/* One launch of kernel k(.u64 buffer) over a buffer of n bytes, there and back. */
static inline CUresult
kit_run(const char *ptx, unsigned ctas, unsigned threads, unsigned smem, void *buffer,
        size_t n)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, n));
  OK(cuMemcpyHtoD_v2(p, buffer, n));
  CUresult r =
      cuLaunchKernel(f, ctas, 1, 1, threads, 1, 1, smem, NULL, (void *[]){&p}, NULL);
  OK(cuMemcpyDtoH_v2(buffer, p, n));
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  return r;
}

/* Findings since the last call; static storage. */
static inline const char *
kit_findings(void)
{
  static char text[65536];
  attncEmuTakeFindings(text, sizeof text);
  return text;
}

static inline void
kit_no_findings(void)
{
  const char *text = kit_findings();
  if (*text)
    fail_msg("%s", text);
}

/* The findings have this in them. */
static inline void
kit_found(const char *part)
{
  const char *text = kit_findings();
  if (!strstr(text, part))
    fail_msg("no '%s' in: %s", part, text);
}

/* The text with the first of something replaced; static storage. */
static inline const char *
replaced(const char *ptx, const char *old, const char *by)
{
  static char text[16384];
  const char *at = strstr(ptx, old);
  if (!at)
    fail_msg("no '%s' in %s", old, ptx);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - ptx), ptx, by, at + strlen(old));
  return text;
}

static inline int
kit_line_of(const char *ptx, const char *piece, size_t n)
{
  char text[200];
  snprintf(text, sizeof text, "%.*s", (int)n, piece);
  const char *at = strstr(ptx, text);
  int line = 1;
  if (!at)
    fail_msg("no '%s' in %s", text, ptx);
  while (at-- > ptx)
    line += *at == '\n';
  return line;
}

static inline const char *
kit_with_lines(const char *ptx, const char *part)
{
  static char text[1000];
  size_t n = 0;
  for (const char *p = part; *p; p++) {
    const char *end = *p == '{' ? strchr(p, '}') : NULL;
    if (end) {
      n += (size_t)snprintf(text + n, sizeof text - n, "%d",
                            kit_line_of(ptx, p + 1, (size_t)(end - p - 1)));
      p = end;
    } else {
      text[n++] = *p;
    }
    assert_true(n < sizeof text - 1);
  }
  text[n] = 0;
  return text;
}

/* Is the part in the findings of that kernel?  A piece of the kernel's text in braces
 * stands for the number of its (first) line; behind '|' is what may be told instead, when
 * two warps come the other way round. */
static inline bool
kit_tells(const char *findings, const char *ptx, const char *parts)
{
  char part[1000];
  for (const char *p = kit_with_lines(ptx, parts); *p; p += strspn(p, "|")) {
    size_t n = strcspn(p, "|");
    snprintf(part, sizeof part, "%.*s", (int)n, p);
    if (strstr(findings, part))
      return true;
    p += n;
  }
  return false;
}

#define KIT_HEAD(version, target)                                                          \
  ".version " version "\n.target " target "\n.address_size 64\n"
/* The entry, its registers, %rd1 = buffer, %r1 = thread, %rd2 = buffer + 4 * thread. */
#define KIT_ENTRY                                                                          \
  ".visible .entry k(.param .u64 p) {\n"                                                   \
  ".reg .pred %p<20>; .reg .b16 %rs<20>; .reg .b32 %r<60>; .reg .b64 %rd<40>;\n"           \
  ".reg .f32 %f<20>; .reg .f64 %fd<20>;\n"                                                 \
  "ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"          \
  "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2;\n"
#define KIT(body) KIT_HEAD("7.8", "sm_80") KIT_ENTRY body "ret;\n}\n"

#endif
