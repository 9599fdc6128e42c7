/* embed.c: kernels that are a part of the program, opened where they lie. */
#include "llama.h"

#include <attnc/attnc_rt.h>

#include <stdio.h>

int
main(void)
{
  attnc_error e = {0};
  attnc_bundle *bundle = NULL;
  attnc_plan *plan = NULL;
  attnc_status s = attnc_bundle_open_memory(llama, llama_bytes, &bundle, &e);
  if (s == ATTNC_OK)
    s = attnc_bundle_plan(bundle, "llama3_8b_prefill", &plan, &e);
  if (s == ATTNC_OK)
    printf("%s\n", attnc_plan_json(plan)); /* attnc_launch as in ../bundle.c */
  else
    fprintf(stderr, "%s: %s\n", attnc_status_name(s), e.message);
  attnc_plan_release(plan);
  attnc_bundle_release(bundle);
  return s != ATTNC_OK;
}
