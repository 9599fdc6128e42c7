/* probe: what a process pays that asks for one plan and launches it.
 *
 *   probe DRIVER.so CACHE_DIR ROUNDS
 *
 * In ROUNDS new contexts over the same disk cache: the first finds what is there or
 * compiles, the others find it on disk; then one context more, asked twice, finds its plan
 * in memory. Prints JSON: layer, milliseconds of the whole attnc_plan_get and of its part
 * before the driver's load call, for each; and the process's largest resident memory. */
#include <attnc/attnc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char yaml[] =
    "attnc: 1\nname: probe\ndtype: bf16\nhead_dim: 128\ncausal: true\n"
    "schedule: {block_m: 128, block_n: 64}\n";
static attnc_error error;

static void
need(attnc_status status, const char *what)
{
  if (status == ATTNC_OK)
    return;
  fprintf(stderr, "%s: %s: %s\n", what, attnc_status_name(status), error.message);
  exit(1);
}

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + 1e-6 * (double)t.tv_nsec;
}

/* The word or number that follows `"name": ` in the plan's JSON. */
static const char *
field(const char *json, const char *name, char word[32])
{
  char key[40];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(json, key);
  if (!at || sscanf(at + strlen(key), " \"%31[^\"]", word) == 1 ||
      sscanf(at + strlen(key), " %31[0-9.e+-]", word) == 1)
    return at ? word : "null";
  return "null";
}

static void
ask(attnc_context *context, const attnc_spec *spec, const char *comma)
{
  const attnc_problem problem = {
      .size = sizeof problem,
      .sizes = &(attnc_sizes){
          .size = sizeof(attnc_sizes), .b = 1, .h = 32, .hk = 8, .sq = 4096, .sk = 4096}};
  attnc_plan *plan;
  char layer[32], lookup[32];
  double start = now();
  need(attnc_plan_get(context, spec, &problem, &plan, &error), "attnc_plan_get");
  double ms = now() - start;
  const char *json = attnc_plan_json(plan);
  printf("%s{\"layer\": \"%s\", \"ms\": %.6f, \"lookup_ms\": %.6f}", comma,
         field(json, "layer", layer), ms, 1e3 * atof(field(json, "lookup", lookup)));
  attnc_plan_release(plan);
}

/* Bytes.  Not getrusage's, which counts what the process was before exec. */
static long
largest_resident(void)
{
  char line[256];
  long kb = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %ld", &kb) != 1)
    continue;
  if (f)
    fclose(f);
  return kb * 1024;
}

int
main(int argc, char **argv)
{
  attnc_spec *spec;
  attnc_context *context;
  if (argc != 4)
    return fprintf(stderr, "usage: probe DRIVER.so CACHE_DIR ROUNDS\n"), 2;
  const attnc_options options = {
      .size = sizeof options, .libcuda = argv[1], .cache_dir = argv[2], .cache = 3};
  double start = now();
  need(attnc_spec_load(yaml, sizeof yaml - 1, "probe", &spec, NULL), "attnc_spec_load");
  printf("{\"spec_ms\": %.6f, \"plans\": [", now() - start);
  for (int i = 0; i < atoi(argv[3]); i++) {
    need(attnc_context_create(&options, &context, &error), "attnc_context_create");
    ask(context, spec, i ? ", " : "");
    attnc_context_release(context);
  }
  printf("], \"again\": [");
  need(attnc_context_create(&options, &context, &error), "attnc_context_create");
  for (int i = 0; i < atoi(argv[3]); i++)
    ask(context, spec, i ? ", " : "");
  attnc_context_release(context);
  attnc_spec_release(spec);
  printf("], \"max_rss\": %ld}\n", largest_resident());
  return 0;
}
