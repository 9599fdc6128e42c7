/* gate_base.c: what was committed of earlier kernels, and whether new ones are worse. */
#include "tests/e2e/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNELS SOURCE_DIR "/tests/baseline.txt"
#define OPCODES SOURCE_DIR "/tests/opcodes.txt"
enum { ROWS_MAX = 1024, PERCENT = 2, REGS_SLACK = 4, LINE = 400 };

typedef struct Kernel {
  char spec[72], target[12], schedule[128];
  int regs, spills, lines;
} Kernel;

typedef struct Count {
  char spec[72], target[12];
  int part;
  Part counts;
} Count;

struct Baseline {
  char assembler[32];
  int n_kernels, n_counts;
  Kernel kernels[ROWS_MAX];
  Count counts[ROWS_MAX];
};

const char *const column_names[COLUMNS] = {
#define X(name, expression) #name,
    COLUMN_TABLE(X)
#undef X
};

bool
baseline_counts(const char *target)
{
  return !strcmp(target, "sm_80") || !strcmp(target, "sm_90a");
}

/* ---- reading ---- */

static void
read_kernel(Baseline *b, const char *line)
{
  Kernel *k = &b->kernels[b->n_kernels];
  if (sscanf(line, "assembler %31s", b->assembler) == 1 || b->n_kernels == ROWS_MAX - 1)
    return;
  if (sscanf(line, "%71s %11s %127s %d %d %d", k->spec, k->target, k->schedule, &k->regs,
             &k->spills, &k->lines) == 6)
    b->n_kernels++;
}

static void
read_count(Baseline *b, const char *line)
{
  Count *c = &b->counts[b->n_counts];
  int at = 0, step, column = 0;
  if (b->n_counts == ROWS_MAX - 1 || sscanf(line, "%71s %11s %d %d%n", c->spec, c->target,
                                            &c->part, &c->counts.all, &at) != 4)
    return;
  while (column < COLUMNS && sscanf(line + at, " %d%n", &c->counts.n[column], &step) == 1) {
    at += step;
    column++;
  }
  if (column == COLUMNS)
    b->n_counts++;
}

static void
read_lines(const char *path, Baseline *b, void (*take)(Baseline *, const char *))
{
  char line[LINE];
  FILE *f = fopen(path, "r");
  while (f && fgets(line, sizeof line, f))
    if (line[0] != '#')
      take(b, line);
  if (f)
    fclose(f);
}

Baseline *
baseline_new(void)
{
  return calloc(1, sizeof(Baseline));
}

Baseline *
baseline_read(void)
{
  Baseline *b = baseline_new();
  if (b) {
    read_lines(KERNELS, b, read_kernel);
    read_lines(OPCODES, b, read_count);
  }
  return b;
}

void
baseline_free(Baseline *b)
{
  free(b);
}

const char *
baseline_assembler(const Baseline *b)
{
  return b->assembler;
}

/* ---- replacing rows ---- */

static void
drop(Baseline *b, const char *spec)
{
  int kernels = 0, counts = 0;
  for (int i = 0; i < b->n_kernels; i++)
    if (strcmp(b->kernels[i].spec, spec) != 0)
      b->kernels[kernels++] = b->kernels[i];
  for (int i = 0; i < b->n_counts; i++)
    if (strcmp(b->counts[i].spec, spec) != 0)
      b->counts[counts++] = b->counts[i];
  b->n_kernels = kernels;
  b->n_counts = counts;
}

/* Specs are in the order of their names, a spec's rows in that in which they come. */
static void
put_kernel(Baseline *b, const Job *j, const Result *r)
{
  Kernel k = {.regs = r->regs, .spills = r->spills, .lines = r->lines};
  int at = b->n_kernels;
  if (b->n_kernels == ROWS_MAX)
    return;
  snprintf(k.spec, sizeof k.spec, "%s", j->spec->name);
  snprintf(k.target, sizeof k.target, "%s", j->target);
  snprintf(k.schedule, sizeof k.schedule, "%s", r->schedule);
  for (; at > 0 && strcmp(b->kernels[at - 1].spec, k.spec) > 0; at--)
    b->kernels[at] = b->kernels[at - 1];
  b->kernels[at] = k;
  b->n_kernels++;
}

static void
put_count(Baseline *b, const Job *j, int part, const Part *counts)
{
  Count c = {.part = part, .counts = *counts};
  int at = b->n_counts;
  if (b->n_counts == ROWS_MAX)
    return;
  snprintf(c.spec, sizeof c.spec, "%s", j->spec->name);
  snprintf(c.target, sizeof c.target, "%s", j->target);
  for (; at > 0 && strcmp(b->counts[at - 1].spec, c.spec) > 0; at--)
    b->counts[at] = b->counts[at - 1];
  b->counts[at] = c;
  b->n_counts++;
}

void
baseline_put(Baseline *b, const char *assembler, const Job *jobs, const Result *r, int n)
{
  snprintf(b->assembler, sizeof b->assembler, "%s", assembler);
  for (int i = 0; i < n; i++)
    drop(b, jobs[i].spec->name);
  for (int i = 0; i < n; i++) {
    put_kernel(b, &jobs[i], &r[i]);
    for (int p = 0; p < r[i].n_parts && baseline_counts(jobs[i].target); p++)
      put_count(b, &jobs[i], p, &r[i].parts[p]);
  }
}

/* ---- writing ---- */

static bool
write_kernels(const Baseline *b)
{
  FILE *f = fopen(KERNELS, "w");
  if (!f)
    return false;
  fprintf(
      f,
      "# Default schedules: spec, target, schedule, registers, spilled bytes, lines of\n"
      "# PTX.  ATTNC_UPDATE=1 rewrites it.\nassembler %s\n",
      b->assembler);
  for (const Kernel *k = b->kernels; k < b->kernels + b->n_kernels; k++)
    fprintf(f, "%s %s %s %d %d %d\n", k->spec, k->target, k->schedule, k->regs, k->spills,
            k->lines);
  return fclose(f) == 0;
}

static bool
write_counts(const Baseline *b)
{
  FILE *f = fopen(OPCODES, "w");
  if (!f)
    return false;
  fprintf(f,
          "# Machine instructions of default schedules by the baseline's assembler, made\n"
          "# with it: part 0 is the kernel, then of each main loop the shortest way and "
          "the whole; mov,\n"
          "# warpgroup and local (spills) are in the columns before them as well.\n"
          "# spec target part all");
  for (int i = 0; i < COLUMNS; i++)
    fprintf(f, " %s", column_names[i]);
  fprintf(f, "\n");
  for (const Count *c = b->counts; c < b->counts + b->n_counts; c++) {
    fprintf(f, "%s %s %d %d", c->spec, c->target, c->part, c->counts.all);
    for (int i = 0; i < COLUMNS; i++)
      fprintf(f, " %d", c->counts.n[i]);
    fprintf(f, "\n");
  }
  return fclose(f) == 0;
}

bool
baseline_write(const Baseline *b)
{
  return write_kernels(b) && write_counts(b);
}

/* ---- loops ---- */

int
gate_full(const Result *r)
{
  int best = 0;
  double least = 0;
  for (int i = 1; i < r->n_parts; i++) {
    double each = (double)r->parts[i].all / r->parts[i].n[COLUMN_tensor];
    if (!best || each < least) {
      best = i;
      least = each;
    }
  }
  return best;
}

/* A tile takes one wgmma for 16 columns of Q and K, and one for 16 keys. */
int
gate_tiles(const Result *r, int part)
{
  int each = (r->head_dim + 15) / 16 + (r->block_n + 15) / 16;
  int tiles = each ? (r->parts[part].n[COLUMN_tensor] + each / 2) / each : 0;
  return tiles > 0 ? tiles : 1;
}

/* ---- comparing ---- */

static const Kernel *
kernel_of(const Baseline *b, const Job *j)
{
  for (int i = 0; i < b->n_kernels; i++)
    if (!strcmp(b->kernels[i].spec, j->spec->name) &&
        !strcmp(b->kernels[i].target, j->target))
      return &b->kernels[i];
  return NULL;
}

static const Part *
part_of(const Baseline *b, const Job *j, int part)
{
  for (int i = 0; i < b->n_counts; i++) {
    const Count *c = &b->counts[i];
    if (!strcmp(c->spec, j->spec->name) && !strcmp(c->target, j->target) && c->part == part)
      return &c->counts;
  }
  return NULL;
}

static bool
grew(int now, int was)
{
  return now * 100 > was * (100 + PERCENT) + 100; /* and one of slack for small numbers */
}

/* More of what an order of magnitude hangs on, tensor instructions, waits for them, special
 * functions and moves, is worse at once; of the rest, 2 %. */
static bool
part_worse(const Part *now, const Part *was, int part, char *why, size_t n)
{
  static const Column exact[] = {COLUMN_tensor, COLUMN_mufu, COLUMN_warpgroup, COLUMN_local,
                                 COLUMN_unknown};
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
    if (now->n[exact[i]] > was->n[exact[i]])
      return snprintf(why, n, "part %d: %d %s instructions, it had %d", part,
                      now->n[exact[i]], column_names[exact[i]], was->n[exact[i]]);
  if (now->n[COLUMN_mov] > was->n[COLUMN_mov] + 2)
    return snprintf(why, n, "part %d: %d moves, it had %d", part, now->n[COLUMN_mov],
                    was->n[COLUMN_mov]);
  return grew(now->all, was->all) &&
         snprintf(why, n, "part %d: %d instructions, it had %d", part, now->all, was->all);
}

static bool
counts_worse(const Baseline *b, const Job *j, const Result *r, char *why, size_t n)
{
  if (part_of(b, j, r->n_parts))
    return snprintf(why, n, "%d main loops, it had more", r->n_parts / 2);
  for (int p = 0; p < r->n_parts; p++) {
    const Part *was = part_of(b, j, p);
    if (!was)
      return snprintf(why, n, "part %d is not in tests/opcodes.txt", p);
    if (part_worse(&r->parts[p], was, p, why, n))
      return true;
  }
  return false;
}

bool
baseline_worse(const Baseline *b, const Job *j, const Result *r, bool same, char *why,
               size_t n)
{
  const Kernel *was = kernel_of(b, j);
  if (!was)
    return snprintf(why, n, "is not in the baseline");
  if (strcmp(r->schedule, was->schedule) != 0)
    return snprintf(why, n, "another schedule; it was %s", was->schedule);
  if (same && r->regs > was->regs + REGS_SLACK)
    return snprintf(why, n, "%d registers, it had %d", r->regs, was->regs);
  if (grew(r->lines, was->lines))
    return snprintf(why, n, "%d lines of PTX, it had %d", r->lines, was->lines);
  return same && baseline_counts(j->target) && counts_worse(b, j, r, why, n);
}

bool
baseline_has(const Baseline *b, const Job *j)
{
  return kernel_of(b, j) != NULL;
}

bool
baseline_note(const Baseline *b, const Job *j, const Result *r, char *why, size_t n)
{
  const Kernel *was = kernel_of(b, j);
  if (!was || ((r->regs < 0 || r->regs == was->regs) && r->lines == was->lines))
    return false;
  return snprintf(why, n, "it was %d registers, %d lines", was->regs, was->lines);
}
