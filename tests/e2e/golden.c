/* golden: the tile program of some kernels, as text, against tests/golden/NAME.tile.
 *
 *   e2e_golden [--update]
 *
 * The dump is what the template said, before any lowering: a change here is a change of the
 * algorithm, and the diff of the file is what a reviewer reads. */
#include "tests/e2e/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
  const char *name, *notation;
} table[] = {
  { "ref_d64_causal", "bf16 h4/2 sq512 sk512 d64 causal ref_fwd" },
};

static char *
slurp(const char *path)
{
  FILE *f = fopen(path, "rb");
  char *text = calloc(1, 1 << 20);
  if (f && text && fread(text, 1, (1 << 20) - 1, f) == 0)
    text[0] = 0;
  if (f)
    fclose(f);
  return text;
}

static char *
dump(const char *notation, char *why, size_t n)
{
  Trial t;
  Call shape;
  char yaml[512];
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = { 0 };
  char *text = NULL;
  if (!trial_parse(notation, &t, why, n))
    return NULL;
  trial_spec(&t, yaml, sizeof yaml);
  if (!call_build(&shape, &t))
    return NULL;
  const attnc_problem p = call_problem(&shape);
  call_free(&shape, NULL);
  const attnc_schedule s = trial_schedule(&t);
  const attnc_compile_options o = { .size = sizeof o, .dump = "tile" };
  if (attnc_spec_load(yaml, strlen(yaml), "golden", &spec, NULL))
    snprintf(why, n, "the spec is refused");
  else if (attnc_compile_with(spec, &p, trial_target(&t), &s, &o, &k, &e))
    snprintf(why, n, "%s", e.message);
  else if (!attnc_kernel_dump(k, "tile"))
    snprintf(why, n, "there is no tile dump");
  else
    text = strdup(attnc_kernel_dump(k, "tile"));
  attnc_kernel_release(k);
  attnc_spec_release(spec);
  return text;
}

static void
difference(const char *path, const char *want, const char *got)
{
  int line = 1;
  while (*want && *want == *got) {
    line += *want == '\n';
    want++;
    got++;
  }
  while (line > 1 && want[-1] != '\n') {
    want--;
    got--;
  }
  printf("FAIL  %s:%d:\n  was: %.*s\n  now: %.*s\n", path, line, (int)strcspn(want, "\n"), want,
         (int)strcspn(got, "\n"), got);
}

static bool
check(const char *name, const char *notation, bool update)
{
  char path[600], why[600] = "";
  char *got = dump(notation, why, sizeof why);
  snprintf(path, sizeof path, SOURCE_DIR "/tests/golden/%s.tile", name);
  if (!got) {
    printf("FAIL  %s: %s\n", name, why);
    return false;
  }
  char *want = slurp(path);
  bool ok = want && strcmp(want, got) == 0;
  if (!ok && update) {
    FILE *f = fopen(path, "wb");
    ok = f && fputs(got, f) >= 0 && fclose(f) == 0;
    printf("%s  %s\n", ok ? "wrote" : "FAIL, cannot write", path);
  } else if (!ok && want) {
    difference(path, want, got);
  }
  free(want);
  free(got);
  return ok;
}

int
main(int argc, char **argv)
{
  bool update = argc == 2 && strcmp(argv[1], "--update") == 0;
  int bad = 0, n = (int)(sizeof table / sizeof table[0]);
  if (argc > 1 && !update)
    return fprintf(stderr, "usage: e2e_golden [--update]\n"), 2;
  if (update)
    mkdir(SOURCE_DIR "/tests/golden", 0777);
  for (int i = 0; i < n; i++)
    bad += !check(table[i].name, table[i].notation, update);
  printf("%d tile programs, %d differ%s\n", n, bad, bad ? " (e2e_golden --update)" : "");
  return bad != 0;
}
