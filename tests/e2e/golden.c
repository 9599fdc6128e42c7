/* golden: the tile program of some kernels, as text, against tests/golden/NAME.tile.
 *
 * The dump is what the template said, before any lowering: a change here is a change of the
 * algorithm, and the diff of the file is what a reviewer reads.  ATTNC_UPDATE=1 rewrites.
 */
#include "tests/e2e/call.h"
#include "tests/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *notation;
} table[] = {
    {"ref_d64_causal",
     "{dtype: bf16, head_dim: 64, causal: true, return_lse: true} h8/2 sq512 sk512 "
     "template=ref_fwd,block_m=4,block_n=1,num_stages=1,num_warps=4,q_in_regs=false"},
    {"mma_d64_causal",
     "{dtype: bf16, head_dim: 64, causal: true, return_lse: true} h8/2 sq512 sk512 "
     "template=fwd_mma,block_m=128,block_n=64,num_stages=2,num_warps=4,q_in_regs=true"},
    {"mma_d64_full_one_stage",
     "{dtype: fp16, head_dim: 64, return_lse: true} h8 sq512 sk512 "
     "template=fwd_mma,block_m=128,block_n=64,num_stages=1,num_warps=4,q_in_regs=false"},
    {"mma_d128_causal",
     "{dtype: bf16, head_dim: 128, causal: true, return_lse: true} h8/2 sq512 sk512 "
     "template=fwd_mma,block_m=128,block_n=64,num_stages=1,num_warps=8,q_in_regs=true"},
    {"mma_d128_window",
     "{dtype: bf16, head_dim: 128, causal: true, window: [200, -1], return_lse: true} h8/2 "
     "sq512 sk512 "
     "template=fwd_mma,block_m=128,block_n=32,num_stages=2,num_warps=8,q_in_regs=false"},
    {"mma_d80_top_left",
     "{dtype: fp16, head_dim: 80, head_dim_v: 64, causal: true, align: top_left} h8/1 "
     "sq512 sk600 "
     "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=false"},
    {"mma_d256_three_spans",
     "{dtype: bf16, head_dim: 256, window: [100, 30], return_lse: true} h2 sq512 sk512 "
     "template=fwd_mma,block_m=64,block_n=32,num_stages=1,num_warps=4,q_in_regs=false"},
    {"mma_d512_shared_rows",
     "{dtype: bf16, head_dim: 512, causal: true, return_lse: true} h2 sq512 sk512 "
     "template=fwd_mma,block_m=32,block_n=32,num_stages=1,num_warps=4,q_in_regs=false,"
     "warps_n=2"},
    {"mma_d64_specialised",
     "{dtype: bf16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides]} h2 sq512 sk512 "
     "template=fwd_mma,block_m=64,block_n=64,num_stages=3,num_warps=4,q_in_regs=false"},
};

static char *
dump(const char *notation, char *why, size_t n)
{
  Case c;
  Call call;
  CallAsked asked;
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  char *text = NULL;
  const attnc_compile_options o = {.size = sizeof o, .dump = "tile"};
  if (!case_parse(notation, &c, why, n))
    return NULL;
  if (call_place(&call, &c, &spec, why, n)) {
    call_problem(&call, &asked);
    if (attnc_compile_with(spec, &asked.problem, c.target, NULL, &o, &k, &e))
      snprintf(why, n, "%s", e.message);
    else if (!attnc_kernel_dump(k, "tile"))
      snprintf(why, n, "there is no tile dump");
    else
      text = strdup(attnc_kernel_dump(k, "tile"));
  }
  call_free(&call, NULL);
  attnc_kernel_release(k);
  attnc_spec_release(spec);
  return text;
}

static bool
check(const char *name, const char *notation)
{
  char path[200], why[600] = "";
  char *got = dump(notation, why, sizeof why);
  snprintf(path, sizeof path, "tests/golden/%s.tile", name);
  bool ok = got && golden_same(path, got);
  if (!got)
    printf("FAIL  %s: %s\n", name, why);
  free(got);
  return ok;
}

int
main(void)
{
  int bad = 0, n = (int)(sizeof table / sizeof table[0]);
  for (int i = 0; i < n; i++)
    bad += !check(table[i].name, table[i].notation);
  printf("%d tile programs, %d differ\n", n, bad);
  return bad != 0;
}
