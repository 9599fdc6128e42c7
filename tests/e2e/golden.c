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
    {"ref_d64_causal", "bf16 h8/2 sq512 sk512 d64 causal ref_fwd:4x1s1w4Q"},
    {"mma_d64_causal", "bf16 h8/2 sq512 sk512 d64 causal fwd_mma:128x64s2w4q"},
    {"mma_d64_full_one_stage", "fp16 h8 sq512 sk512 d64 fwd_mma:128x64s1w4Q"},
    {"mma_d128_causal", "bf16 h8/2 sq512 sk512 d128 causal fwd_mma:128x64s1w8q"},
    {"mma_d128_window",
     "bf16 h8/2 sq512 sk512 d128 causal window=200,-1 fwd_mma:128x32s2w8Q"},
    {"mma_d80_top_left",
     "fp16 h8/1 sq512 sk600 d80/64 causal top_left nolse fwd_mma:64x64s2w4Q"},
    {"mma_d256_three_spans", "bf16 h2 sq512 sk512 d256 window=100,30 fwd_mma:64x32s1w4Q"},
    {"mma_d64_specialised", "bf16 h2 sq512 sk512 d64 special=all fwd_mma:64x64s3w4Q"},
};

static char *
dump(const char *notation, char *why, size_t n)
{
  Trial t;
  Call shape;
  char yaml[512];
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  char *text = NULL;
  if (!trial_parse(notation, &t, why, n))
    return NULL;
  trial_spec(&t, yaml, sizeof yaml);
  if (!call_build(&shape, &t))
    return NULL;
  CallAsked asked;
  const attnc_problem *p = &asked.problem;
  call_problem(&shape, &asked);
  call_free(&shape, NULL);
  const attnc_schedule s = trial_schedule(&t);
  const attnc_compile_options o = {.size = sizeof o, .dump = "tile"};
  if (attnc_spec_load(yaml, strlen(yaml), "golden", &spec, NULL))
    snprintf(why, n, "the spec is refused");
  else if (attnc_compile_with(spec, p, trial_target(&t), &s, &o, &k, &e))
    snprintf(why, n, "%s", e.message);
  else if (!attnc_kernel_dump(k, "tile"))
    snprintf(why, n, "there is no tile dump");
  else
    text = strdup(attnc_kernel_dump(k, "tile"));
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
