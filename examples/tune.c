/* tune.c: the fastest schedule for one problem on device 0, kept for every later plan.
 *
 *   cc tune.c $(pkg-config --cflags --libs attnc) && ./a.out
 *   ATTNC_LIBCUDA=libattnc-emu.so ./a.out       without a GPU */
#include <attnc/attnc.h>

#include <stdio.h>
#include <string.h>

static const char text[] =
    "attnc: 1\nname: tuned\ndtype: bf16\nhead_dim: 64\ncausal: true\n";

/* [tune] */
static int
on_progress(void *user, const attnc_tune_progress *p)
{
  fprintf(user, "%s %d of %d\n", p->stage, p->done, p->total);
  return 0; /* 1 would stop the sweep */
}

static attnc_status
tune(attnc_context *context, const attnc_spec *spec, const attnc_sizes *sizes,
     attnc_error *e)
{
  attnc_problem problem = {.size = sizeof problem, .sizes = sizes};
  attnc_tune_options options = {.size = sizeof options,
                                .level = ATTNC_TUNE_MEASURE,
                                .top = 4, /* instead of what the level says */
                                .progress = on_progress,
                                .user = stderr};
  attnc_tuning *tuning = NULL;
  attnc_status s = attnc_tune(context, spec, &problem, &options, &tuning, e);
  if (s == ATTNC_OK) {
    const attnc_tuned *best = attnc_tuning_get(tuning, 0);
    printf("best of %zu: %s %dx%d, %g\n", attnc_tuning_count(tuning),
           best->schedule->template_name, best->schedule->block_m, best->schedule->block_n,
           best->value);
  }
  attnc_tuning_release(tuning);
  return s;
}
/* [/tune] */

int
main(void)
{
  const attnc_sizes sizes = {
      .size = sizeof sizes, .b = 1, .h = 2, .hk = 1, .sq = 128, .sk = 128};
  attnc_error e = {0};
  attnc_spec *spec = NULL;
  attnc_context *context = NULL;
  attnc_status s = attnc_spec_load(text, strlen(text), "tuned", &spec, NULL);
  if (s == ATTNC_OK)
    s = attnc_context_create(NULL, &context, &e);
  if (s == ATTNC_OK)
    s = tune(context, spec, &sizes, &e);
  if (s != ATTNC_OK)
    fprintf(stderr, "%s: %s\n", attnc_status_name(s), e.message);
  attnc_context_release(context);
  attnc_spec_release(spec);
  return s != ATTNC_OK;
}
