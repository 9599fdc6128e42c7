/* rt.h: what the runtime's tests share: a kernel by hand, the stub driver, scratch
 * directories. */
#ifndef ATTNC_TESTS_RT_H
#define ATTNC_TESTS_RT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "tests/stub/stub.h"

#include <attnc/attnc.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The mark of kernels by hand. */
#define RT_MARK "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define RT_PTX_OF(params)                                                                  \
  "// attnc mark " RT_MARK " template=by_hand\n"                                           \
  ".version 7.0\n.target sm_80\n.address_size 64\n"                                        \
  ".visible .entry attnc_fwd(" params ")\n{ ret; }\n"
#define RT_PTX                                                                             \
  RT_PTX_OF(".param .u64 q, .param .u64 k, .param .u64 v, .param .u64 o, "                 \
            ".param .u64 lse, .param .u64 q_s, .param .u32 b, .param .u32 sq, "            \
            ".param .u64 sk, .param .f32 scale")

/* What a tensor's object in a recipe has behind its access, of head_dim 64. */
#define RT_STRIDED(heads, rows)                                                            \
  ",\"axes\":[\"b\",\"" heads "\",\"" rows "\",64],\"contiguous\":false,\"align\":16"
#define RT_OF_q   RT_STRIDED("h", "sq")
#define RT_OF_k   RT_STRIDED("hk", "sk")
#define RT_OF_v   RT_STRIDED("hk", "sk")
#define RT_OF_o   RT_STRIDED("h", "sq")
#define RT_OF_lse ",\"axes\":[\"b\",\"h\",\"sq\"],\"contiguous\":true,\"align\":16"

/* The parts of a recipe that tests replace. */
#define RT_TENSORS                                                                         \
  "[{\"name\":\"q\",\"slot\":0,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_q "},"          \
  "{\"name\":\"k\",\"slot\":1,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_k "},"           \
  "{\"name\":\"v\",\"slot\":2,\"dtype\":\"bf16\",\"access\":\"in\"" RT_OF_v "},"           \
  "{\"name\":\"o\",\"slot\":3,\"dtype\":\"bf16\",\"access\":\"out\"" RT_OF_o "},"          \
  "{\"name\":\"lse\",\"slot\":4,\"dtype\":\"fp32\",\"access\":\"out\"" RT_OF_lse "}]"
#define RT_SCALARS                                                                         \
  "[{\"name\":\"softmax_scale\",\"slot\":0,\"default\":0.125,\"positive\":false,"          \
  "\"constant\":false}]"
#define RT_REQUIRES "{\"align\":16,\"group_size\":0}"
#define RT_PARAMS                                                                          \
  "[{\"type\":\"ptr\",\"tensor\":0},{\"type\":\"ptr\",\"tensor\":1},"                      \
  "{\"type\":\"ptr\",\"tensor\":2},{\"type\":\"ptr\",\"tensor\":3},"                       \
  "{\"type\":\"ptr\",\"tensor\":4},{\"type\":\"i64\",\"stride\":[0,2]},"                   \
  "{\"type\":\"i32\",\"size\":\"b\"},{\"type\":\"i32\",\"size\":\"sq\"},"                  \
  "{\"type\":\"i64\",\"size\":\"sk\"},{\"type\":\"f32\",\"scalar\":0}]"
#define RT_GRID                                                                            \
  "[{\"mul\":[{\"ceil_div\":[\"sq\",128]}]},{\"mul\":[{\"size\":\"h\"}]},"                 \
  "{\"mul\":[{\"size\":\"b\"}]}]"
#define RT_STEPS(params, grid)                                                             \
  "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":" params ",\"grid\":" grid             \
  ",\"block\":[128,1,1],\"cluster\":[1,1,1],\"shared\":65536}}]"
#define RT_RECIPE_OF(target, exact, tensors, scalars, requires, workspace, steps)          \
  "{\"schema\":\"attnc.kernel/3\",\"attnc\":\"0.1.0\",\"name\":\"by_hand\","               \
  "\"op\":\"fwd\",\"target\":\"" target "\",\"exact\":" exact                              \
  ",\"ptx_version\":70,\"min_driver\":11000,\"ptx_sha256\":\"@\",\"mark\":\"" RT_MARK      \
  "\",\"tensors\":" tensors ",\"scalars\":" scalars                                        \
  ",\"requires\":" requires ",\"workspace\":" workspace ",\"steps\":" steps "}"
#define RT_RECIPE                                                                          \
  RT_RECIPE_OF("sm_80", "false", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",                 \
               RT_STEPS(RT_PARAMS, RT_GRID))

/* A directory of its own for each call, removed by rt_remove; in memory where that can be,
 * since the cache syncs what it writes. */
static inline char *
rt_scratch(void)
{
  bool memory = access("/dev/shm", W_OK) == 0;
  char *path = strdup(memory ? "/dev/shm/attnc-test-XXXXXX" : "/tmp/attnc-test-XXXXXX");
  assert_non_null(mkdtemp(path));
  return path;
}

static inline void
rt_remove(char *path)
{
  char command[256];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  assert_int_equal(system(command), 0);
  free(path);
}

static inline void
rt_write(const char *dir, const char *name, const void *text, size_t n)
{
  char path[512];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

#endif
