/* gate: what an assembler makes of every spec on every target, with default schedules.
 *
 * Every kernel assembles without spills and without the C75xx messages by which ptxas says
 * that it undid what the kernel asked for.  Registers and lines of PTX are compared with
 * tests/baseline.txt: more than the slack below is a failure, less a note; ATTNC_UPDATE=1
 * rewrites it, and the diff is reviewed.
 * Without ptxas ($ATTNC_PTXAS, the PATH, /usr/local/cuda/bin) the lines alone are compared
 * and the exit status is 77. */
#include "tests/e2e/call.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS_MAX = 512, LINES_PERCENT = 2, REGS_SLACK = 4, TEXT_MAX = 1 << 16 };
#define BASELINE SOURCE_DIR "/tests/baseline.txt"

typedef struct Row {
  char spec[72], target[12], schedule[48];
  int regs, spills, lines;
} Row;

typedef struct Gate {
  const char *ptxas;
  char version[32], version_known[32];
  Row rows[ROWS_MAX], known[ROWS_MAX];
  int n, n_known, bad;
} Gate;

/* ---- ptxas ---- */

static const char *
find_ptxas(void)
{
  static char path[1200];
  const char *named = getenv("ATTNC_PTXAS"), *list = getenv("PATH");
  if (named && *named)
    return access(named, X_OK) == 0 ? named : NULL;
  while (list && *list) {
    size_t n = strcspn(list, ":");
    snprintf(path, sizeof path, "%.*s/ptxas", (int)n, list);
    if (access(path, X_OK) == 0)
      return path;
    list += n + (list[n] == ':');
  }
  snprintf(path, sizeof path, "/usr/local/cuda/bin/ptxas");
  return access(path, X_OK) == 0 ? path : NULL;
}

/* Runs a program and takes what it says; false: it failed. */
static bool
say(char *const argv[], char *said, size_t n)
{
  int ends[2], status = 0;
  size_t at = 0;
  fflush(NULL);
  if (pipe(ends))
    return false;
  pid_t p = fork();
  if (p == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    execv(argv[0], argv);
    _exit(127);
  }
  close(ends[1]);
  for (ssize_t got; at < n - 1 && (got = read(ends[0], said + at, n - 1 - at)) > 0;)
    at += (size_t)got;
  said[at] = 0;
  close(ends[0]);
  return p > 0 && waitpid(p, &status, 0) == p && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

static bool
assemble(const char *ptxas, const char *target, char *path, char *said, size_t n)
{
  char arch[32];
  snprintf(arch, sizeof arch, "-arch=%s", target);
  char *const argv[] = {(char *)ptxas, "-v", "-O3", arch, path, "-o", "/dev/null", NULL};
  return say(argv, said, n);
}

/* "V13.0.88", "none" */
static void
version(Gate *g)
{
  char said[1000] = "";
  char *const argv[] = {(char *)g->ptxas, "--version", NULL};
  if (!g->ptxas || !say(argv, said, sizeof said) || !strstr(said, ", V") ||
      sscanf(strstr(said, ", V"), ", %31s", g->version) != 1)
    snprintf(g->version, sizeof g->version, "none");
}

/* The number before `word` in what ptxas said, the largest of several; -1: none. */
static int
figure(const char *said, const char *word)
{
  int most = -1;
  for (const char *p = strstr(said, word); p; p = strstr(p + 1, word)) {
    const char *d = p;
    while (d > said && d[-1] >= '0' && d[-1] <= '9')
      d--;
    if (d < p && atoi(d) > most)
      most = atoi(d);
  }
  return most;
}

/* ---- one kernel ---- */

static bool
fault(Gate *g, const Row *r, const char *what, const char *more)
{
  printf("FAIL  %s %s %s: %s%.*s\n", r->spec, r->target, r->schedule, what,
         (int)strcspn(more, "\n"), more);
  g->bad++;
  return false;
}

static int
whole(const json_t *o, const char *key)
{
  return (int)json_integer_value(json_object_get(o, key));
}

static void
schedule_text(const char *recipe, char *text, size_t n)
{
  json_t *o = json_loads(recipe, 0, NULL), *s = json_object_get(o, "schedule");
  const char *name = json_string_value(json_object_get(o, "template"));
  snprintf(text, n, "%s:%dx%ds%dw%d%c", name ? name : "?", whole(s, "block_m"),
           whole(s, "block_n"), whole(s, "num_stages"), whole(s, "num_warps"),
           whole(s, "q_in_regs") == 2 ? 'q' : 'Q');
  json_decref(o);
}

static bool
judge(Gate *g, Row *r, const char *ptx, size_t bytes)
{
  static char said[TEXT_MAX];
  char path[] = "/tmp/attnc-gate-XXXXXX";
  int fd = mkstemp(path);
  if (fd < 0)
    return fault(g, r, "no temporary file", "");
  bool ok = write(fd, ptx, bytes) == (ssize_t)bytes;
  close(fd);
  ok = ok && assemble(g->ptxas, r->target, path, said, sizeof said);
  unlink(path);
  if (!ok)
    return fault(g, r, "ptxas refuses it: ", said);
  r->regs = figure(said, " registers");
  int stores = figure(said, " bytes spill stores"),
      loads = figure(said, " bytes spill loads");
  r->spills = stores + loads;
  if (r->regs < 0 || stores < 0 || loads < 0)
    return fault(g, r, "ptxas -v says no registers or spills: ", said);
  if (strstr(said, "C75"))
    return fault(g, r, "", strstr(said, "C75"));
  return r->spills == 0 || fault(g, r, "spills", "");
}

static void
kernel(Gate *g, const attnc_spec *spec, const attnc_problem *p, const char *target)
{
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  size_t bytes = 0;
  Row *r = &g->rows[g->n];
  *r = (Row){.regs = -1, .spills = -1};
  snprintf(r->spec, sizeof r->spec, "%s", attnc_spec_name(spec));
  snprintf(r->target, sizeof r->target, "%s", target);
  if (attnc_compile(spec, p, target, NULL, &k, &e)) {
    fault(g, r, "does not compile: ", e.message);
    return;
  }
  const char *ptx = attnc_kernel_ptx(k, &bytes);
  schedule_text(attnc_kernel_json(k), r->schedule, sizeof r->schedule);
  for (size_t i = 0; i < bytes; i++)
    r->lines += ptx[i] == '\n';
  if (g->n < ROWS_MAX - 1 && (!g->ptxas || judge(g, r, ptx, bytes)))
    g->n++;
  attnc_kernel_release(k);
}

/* Values for specs that specialise: middling sizes, dense strides. */
static attnc_problem
problem(const attnc_spec *spec)
{
  json_t *o = json_loads(attnc_spec_json(spec), 0, NULL);
  int group = whole(o, "group_size");
  Trial t = {.b = 1,
             .h = group ? 2 * group : 8,
             .hk = 2,
             .sq = 1024,
             .sk = 1024,
             .d = whole(o, "head_dim"),
             .dv = whole(o, "head_dim_v"),
             .lse = true};
  Call shape;
  attnc_problem p = {0};
  json_decref(o);
  if (call_build(&shape, &t))
    p = call_problem(&shape);
  call_free(&shape, NULL);
  return p;
}

static void
spec_file(Gate *g, const char *path)
{
  char *text = calloc(1, TEXT_MAX);
  FILE *f = fopen(path, "rb");
  attnc_spec *spec = NULL;
  size_t n = f && text ? fread(text, 1, TEXT_MAX - 1, f) : 0;
  if (f)
    fclose(f);
  if (attnc_spec_load(text, n, path, &spec, NULL)) {
    printf("FAIL  %s is refused\n", path);
    g->bad++;
  } else {
    const attnc_problem p = problem(spec);
    for (const char *const *t = attnc_targets(); *t; t++)
      if (!attnc_spec_check(spec, *t, NULL))
        kernel(g, spec, &p, *t);
      else
        printf("note  %s does not run on %s\n", attnc_spec_name(spec), *t);
  }
  attnc_spec_release(spec);
  free(text);
}

/* ---- the baseline ---- */

static void
baseline_read(Gate *g)
{
  FILE *f = fopen(BASELINE, "r");
  char line[256];
  while (f && g->n_known < ROWS_MAX && fgets(line, sizeof line, f)) {
    Row *r = &g->known[g->n_known];
    if (sscanf(line, "assembler %31s", g->version_known) == 1)
      continue;
    if (sscanf(line, "%71s %11s %47s %d %d %d", r->spec, r->target, r->schedule, &r->regs,
               &r->spills, &r->lines) == 6 &&
        line[0] != '#')
      g->n_known++;
  }
  if (f)
    fclose(f);
}

static bool
baseline_write(const Gate *g)
{
  FILE *f = fopen(BASELINE, "w");
  if (!f)
    return false;
  fprintf(
      f,
      "# Default schedules: spec, target, schedule, registers, spilled bytes, lines of\n"
      "# PTX.  ATTNC_UPDATE=1 rewrites it.\nassembler %s\n",
      g->version);
  for (int i = 0; i < g->n; i++)
    fprintf(f, "%s %s %s %d %d %d\n", g->rows[i].spec, g->rows[i].target,
            g->rows[i].schedule, g->rows[i].regs, g->rows[i].spills, g->rows[i].lines);
  return fclose(f) == 0;
}

static const Row *
baseline_row(const Gate *g, const Row *r)
{
  for (int i = 0; i < g->n_known; i++)
    if (!strcmp(g->known[i].spec, r->spec) && !strcmp(g->known[i].target, r->target))
      return &g->known[i];
  return NULL;
}

/* Registers of another assembler are shown, not judged. */
static void
compare(Gate *g)
{
  bool same_assembler = strcmp(g->version, g->version_known) == 0;
  if (g->ptxas && !same_assembler)
    printf("note  ptxas is %s, the baseline's was %s\n", g->version, g->version_known);
  for (int i = 0; i < g->n; i++) {
    const Row *r = &g->rows[i], *was = baseline_row(g, r);
    char text[160];
    printf("%-24s %-7s %-26s %4d registers %3d spilled %6d lines\n", r->spec, r->target,
           r->schedule, r->regs, r->spills, r->lines);
    if (!was) {
      fault(g, r, "is not in the baseline", "");
      continue;
    }
    snprintf(text, sizeof text, "%s, %d registers, %d lines", was->schedule, was->regs,
             was->lines);
    if (strcmp(r->schedule, was->schedule) != 0)
      fault(g, r, "another schedule; it was ", text);
    else if ((same_assembler && r->regs > was->regs + REGS_SLACK) ||
             r->lines * 100 > was->lines * (100 + LINES_PERCENT))
      fault(g, r, "grew; it was ", text);
    else if ((r->regs >= 0 && r->regs != was->regs) || r->lines != was->lines)
      printf("note  it was %s\n", text);
  }
}

int
main(void)
{
  static Gate g;
  glob_t found;
  const char *set = getenv("ATTNC_UPDATE");
  bool update = set && strcmp(set, "1") == 0;
  g.ptxas = find_ptxas();
  version(&g);
  if (update && !g.ptxas)
    return fprintf(stderr, "ptxas is not found\n"), 2;
  if (glob(SOURCE_DIR "/specs/*.attn.yaml", 0, NULL, &found) || found.gl_pathc == 0)
    return fprintf(stderr, "there are no specs\n"), 1;
  for (size_t i = 0; i < found.gl_pathc; i++)
    spec_file(&g, found.gl_pathv[i]);
  globfree(&found);
  if (update)
    return !baseline_write(&g) || g.bad;
  baseline_read(&g);
  compare(&g);
  printf("%d kernels, %d faults%s\n", g.n, g.bad,
         g.ptxas ? "" : "; SKIPPED: registers and spills, ptxas is not found");
  return g.bad ? 1 : g.ptxas ? 0 : 77;
}
