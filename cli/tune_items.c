#include "cli/tune.h"

#include "base/err.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SHAPES_FILE = 1 << 20 };

/* ---- shards ---- */

/* Which of how many a program is, as its launcher says: the index, the count, NULL or the
 * index of the first. */
static const char *const launchers[][3] = {
    {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"},
    {"JOB_COMPLETION_INDEX", "JOB_COMPLETIONS",
     NULL}, /* the count is the job file's to set */
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", NULL},
    {"PMI_RANK", "PMI_SIZE", NULL},
    {"SLURM_PROCID", "SLURM_NTASKS", NULL},
    {"RANK", "WORLD_SIZE", NULL},
};

static bool
number_in(const char *name, int64_t *out)
{
  const char *text = name ? getenv(name) : NULL;
  return text && str_whole(&text, out) && !*text;
}

static bool
launcher_shard(int64_t *shard, int64_t *shards)
{
  for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
    int64_t first = 0;
    number_in(launchers[i][2], &first);
    if (number_in(launchers[i][0], shard) && number_in(launchers[i][1], shards)) {
      *shard -= first;
      return true;
    }
  }
  return false;
}

attnc_status
tune_shard(const Cli *c, Shard *out, attnc_error *e)
{
  const char *text = c->opt.value[OPT_SHARD], *p = text;
  int64_t shard = 0, shards = 1;
  *out = (Shard){0, 1};
  if (!text)
    return ATTNC_OK;
  if (str_eq(text, "auto")) {
    if (!launcher_shard(&shard, &shards))
      return err_set(e, ATTNC_ERR_USAGE,
                     "--shard auto: no variables of Slurm, Kubernetes or MPI say which");
  } else if (!str_whole(&p, &shard) || *p++ != '/' || !str_whole(&p, &shards) || *p) {
    return err_set(e, ATTNC_ERR_USAGE, "--shard: %.40s is not I/N or auto", text);
  }
  if (shard < 0 || shard >= shards || shards > INT32_MAX)
    return err_set(e, ATTNC_ERR_USAGE, "--shard: there is no part %lld of %lld",
                   (long long)shard, (long long)shards);
  *out = (Shard){(int)shard, (int)shards};
  return ATTNC_OK;
}

/* ---- the problems ---- */

static attnc_status
add_item(const Cli *c, TuneList *l, const LoadedSpec *spec, const char *shape,
         attnc_error *e)
{
  TuneItem item = {.spec = spec};
  Str text = str_new(c->arena);
  TRY(cli_sizes_of(c, spec, shape, &item.sizes, e));
  problem_print(&item.sizes, &text);
  item.shape = text.p;
  for (int i = 0; i < l->items.n; i++)
    if (l->items.at[i].spec == spec && str_eq(l->items.at[i].shape, item.shape))
      return ATTNC_OK; /* said twice */
  *vec_push(c->arena, &l->items) = item;
  return ATTNC_OK;
}

/* Does the line begin with a spec's name, not with sizes?  *sizes: what is behind it. */
static bool
names_a_spec(const char *line, const char **sizes, char *name, size_t room)
{
  Problem p = {.sizes = {.size = sizeof p.sizes}};
  size_t n = strcspn(line, " \t");
  *sizes = line;
  if (n >= room)
    return false;
  memcpy(name, line, n);
  name[n] = 0;
  if (problem_parse(name, &p, NULL) == ATTNC_OK)
    return false;
  *sizes = line + n + strspn(line + n, " \t");
  return true;
}

static attnc_status
add_line(const Cli *c, TuneList *l, const char *line, int number, attnc_error *e)
{
  const char *sizes, *file = c->opt.value[OPT_SHAPES];
  char name[80];
  attnc_error why;
  bool named = names_a_spec(line, &sizes, name, sizeof name);
  Problem p = {.sizes = {.size = sizeof p.sizes}};
  if (problem_parse(sizes, &p, &why) != ATTNC_OK)
    return err_set(e, ATTNC_ERR_USAGE, "%.200s:%d: %s", file, number, why.message);
  if (!p.sizes.b || !p.sizes.h || !p.sizes.sq || !p.sizes.sk)
    return err_set(e, ATTNC_ERR_USAGE, "%.200s:%d: b, h, sq and sk are needed", file,
                   number);
  for (int i = 0; i < l->specs.n; i++) {
    const LoadedSpec *spec = &l->specs.at[i];
    if (named && !str_eq(spec->info.name, name))
      continue;
    attnc_status st = add_item(c, l, spec, sizes, &why);
    if (st != ATTNC_OK)
      return err_set(e, st, "%.200s:%d: %s", file, number, why.message);
  }
  return ATTNC_OK;
}

/* A problem a line; what is behind # is for people. */
static attnc_status
add_lines(const Cli *c, TuneList *l, char *text, attnc_error *e)
{
  char *rest = text, *line;
  for (int number = 1; (line = strsep(&rest, "\n")) != NULL; number++) {
    line[strcspn(line, "#\r")] = 0;
    line += strspn(line, " \t");
    if (*line)
      TRY(add_line(c, l, line, number, e));
  }
  return ATTNC_OK;
}

/* A spec without a problem was named for nothing. */
static attnc_status
check_all_used(const TuneList *l, const char *file, attnc_error *e)
{
  for (int s = 0; s < l->specs.n; s++) {
    bool used = false;
    for (int i = 0; i < l->items.n && !used; i++)
      used = l->items.at[i].spec == &l->specs.at[s];
    if (!used)
      return err_set(e, ATTNC_ERR_USAGE, "%.200s has no sizes for %s", file,
                     l->specs.at[s].info.name);
  }
  return ATTNC_OK;
}

static attnc_status
read_shapes(const Cli *c, TuneList *l, const char *file, attnc_error *e)
{
  char *text;
  size_t n;
  TRY(file_read_stream(file, MAX_SHAPES_FILE, &text, &n, e));
  attnc_status st = add_lines(c, l, text, e);
  free(text);
  return st == ATTNC_OK ? check_all_used(l, file, e) : st;
}

static void
keep_shard(TuneList *l, const Shard *shard)
{
  int kept = 0;
  for (int i = 0; i < l->items.n; i++)
    if (i % shard->count == shard->index)
      l->items.at[kept++] = l->items.at[i];
  l->elsewhere = l->items.n - kept;
  l->items.n = kept;
}

attnc_status
tune_list_read(const Cli *c, const Shard *shard, TuneList *l, attnc_error *e)
{
  const char *shape = c->opt.value[OPT_SHAPE], *file = c->opt.value[OPT_SHAPES];
  const char *lengths = c->opt.value[OPT_SEQLENS];
  if (lengths && file)
    return err_set(e, ATTNC_ERR_USAGE, "--seqlens: lengths of one batch, not of --shapes");
  if (!lengths && !shape == !file)
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc tune needs --shape, as in \"b1 h32/8 s4096\", or --shapes FILE");
  l->many = file || c->opt.n_args > 1;
  l->specs.at = NEW_N(c->arena, LoadedSpec, c->opt.n_args); /* items point to them */
  for (int i = 0; i < c->opt.n_args; i++) {
    LoadedSpec *spec = &l->specs.at[l->specs.n++];
    TRY(cli_load(c, c->opt.args[i], spec, NULL, e));
    if (!file)
      TRY(add_item(c, l, spec, shape, e));
  }
  if (file)
    TRY(read_shapes(c, l, file, e));
  if (l->many)
    keep_shard(l, shard);
  return ATTNC_OK;
}

void
tune_list_free(TuneList *l)
{
  for (int i = 0; i < l->items.n; i++) {
    json_decref(l->items.at[i].json);
    attnc_tuning_release(l->items.at[i].tuning);
  }
  for (int i = 0; i < l->specs.n; i++)
    cli_unload(&l->specs.at[i]);
}
