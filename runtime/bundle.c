/* Bundles: a directory of kernels, NAME.TARGET.json and NAME.TARGET.ptx, and the list of
 * all its files with their SHA-256 in MANIFEST.sha256, as sha256sum writes it.
 *
 * Opening reads the manifest and checks every file in it; a plan checks the bytes that it
 * loads once more, so that nothing unlisted or changed since is ever run. */
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rules.h"
#include "base/str.h"
#include "runtime/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST = 16 << 20, MAX_FILE = 256 << 20, MAX_PATH = 4096 };

typedef struct Listed {
  const char *name;
  char hash[65];
} Listed;

struct attnc_bundle {
  Arena *arena;
  const char *dir;
  VEC(Listed) files;
  const Driver *drv;
  const Device *device;
};

/* ---- the manifest ---- */

static bool
is_hex64(const char *s)
{
  for (int i = 0; i < 64; i++)
    if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
      return false;
  return true;
}

/* "HASH  name" or, for sha256sum --binary, "HASH *name". */
static attnc_status
read_line(attnc_bundle *b, const char *line, size_t n, int number, attnc_error *e)
{
  if (n < 67 || !is_hex64(line) || line[64] != ' ' || (line[65] != ' ' && line[65] != '*'))
    return err_set(e, ATTNC_ERR_IO, "%s/MANIFEST.sha256:%d: not a line of sha256sum",
                   b->dir, number);
  const char *name = line + 66;
  if (memchr(name, '/', n - 66) || name[0] == '.' || memchr(name, 0, n - 66))
    return err_set(e, ATTNC_ERR_IO,
                   "%s/MANIFEST.sha256:%d: not the name of a file beside it", b->dir,
                   number);
  Listed *f = vec_push(b->arena, &b->files);
  if (f)
    f->name = arena_strndup(b->arena, name, n - 66);
  if (!f || !f->name)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", b->dir);
  memcpy(f->hash, line, 64);
  return ATTNC_OK;
}

static attnc_status
read_lines(attnc_bundle *b, const char *text, size_t n, attnc_error *e)
{
  const char *end = text + n;
  int number = 1;
  for (const char *p = text; p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    size_t length = (size_t)((stop ? stop : end) - p);
    if (length)
      TRY(read_line(b, p, length, number, e));
    p += length + 1;
  }
  if (!b->files.n)
    return err_set(e, ATTNC_ERR_IO, "%s/MANIFEST.sha256: lists no file", b->dir);
  return ATTNC_OK;
}

static attnc_status
file_path(const attnc_bundle *b, const char *name, char path[MAX_PATH], attnc_error *e)
{
  int n = snprintf(path, MAX_PATH, "%s/%s", b->dir, name);
  if (n < 0 || n >= MAX_PATH)
    return err_set(e, ATTNC_ERR_IO, "%s: the path is too long", b->dir);
  return ATTNC_OK;
}

/* A listed file's text, which is what the manifest says; the caller frees it. */
static attnc_status
read_listed(const attnc_bundle *b, const Listed *f, char **text, size_t *n, attnc_error *e)
{
  char path[MAX_PATH], hash[65];
  TRY(file_path(b, f->name, path, e));
  TRY(file_read(path, MAX_FILE, text, n, e));
  sha256_hex(*text, *n, hash);
  if (!strcmp(hash, f->hash))
    return ATTNC_OK;
  free(*text);
  return err_set(e, ATTNC_ERR_IO, "%s: is not the file that MANIFEST.sha256 lists", path);
}

static attnc_status
read_manifest(attnc_bundle *b, attnc_error *e)
{
  char path[MAX_PATH], *text;
  size_t n;
  TRY(file_path(b, "MANIFEST.sha256", path, e));
  TRY(file_read(path, MAX_MANIFEST, &text, &n, e));
  attnc_status status = read_lines(b, text, n, e);
  free(text);
  for (int i = 0; status == ATTNC_OK && i < b->files.n; i++) {
    status = read_listed(b, &b->files.at[i], &text, &n, e);
    if (status == ATTNC_OK)
      free(text);
  }
  return status;
}

/* ---- open and release ---- */

static attnc_status
open_here(attnc_bundle *b, attnc_error *e)
{
  TRY(read_manifest(b, e));
  TRY(drv_open(NULL, &b->drv, e));
  return drv_device(b->drv, -1, &b->device, e);
}

attnc_status
attnc_bundle_open(const char *dir, attnc_bundle **out, attnc_error *e)
{
  if (!dir || !out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_bundle_open: an argument is NULL");
  *out = NULL;
  Arena *arena = arena_new(0);
  attnc_bundle *b = arena ? NEW(arena, attnc_bundle) : NULL;
  const char *copy = b ? arena_strdup(arena, dir) : NULL;
  if (!copy) {
    arena_free(arena);
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", dir);
  }
  b->arena = arena;
  b->dir = copy;
  attnc_status status = open_here(b, e);
  if (status != ATTNC_OK) {
    attnc_bundle_release(b);
    return status;
  }
  *out = b;
  return ATTNC_OK;
}

void
attnc_bundle_release(attnc_bundle *b)
{
  if (!b)
    return;
  drv_close(b->drv);
  arena_free(b->arena);
}

/* ---- choosing a kernel ---- */

/* The best of the kernels of one name: an exact target before a plain one, then the
 * higher; `refusal` keeps why one did not fit. */
typedef struct Choice {
  const Listed *json, *ptx;
  int rank; /* 0: none yet */
  bool seen;
  attnc_error refusal;
} Choice;

/* NAME.sm_TARGET.json, so that NAME may hold dots of its own. */
static bool
is_recipe_of(const char *file, const char *name)
{
  size_t n = strlen(name), length = strlen(file);
  return !strncmp(file, name, n) && !strncmp(file + n, ".sm_", 4) && length > n + 9 &&
         str_eq(file + length - 5, ".json");
}

/* The PTX beside a recipe, which must be the one that the recipe speaks of. */
static attnc_status
find_ptx(const attnc_bundle *b, const Listed *json, const char *hash, const Listed **out,
         attnc_error *e)
{
  size_t stem = strlen(json->name) - 4;
  *out = NULL;
  for (int i = 0; i < b->files.n; i++) {
    const char *name = b->files.at[i].name;
    if (!strncmp(name, json->name, stem) && str_eq(name + stem, "ptx"))
      *out = &b->files.at[i];
  }
  if (!*out)
    return err_set(e, ATTNC_ERR_IO, "%s: MANIFEST.sha256 lists %s but not its PTX", b->dir,
                   json->name);
  if (strcmp((*out)->hash, hash) != 0)
    return err_set(e, ATTNC_ERR_IO, "%s/%s: is not the PTX that %s was made with", b->dir,
                   (*out)->name, json->name);
  return ATTNC_OK;
}

static attnc_status
consider(const attnc_bundle *b, const Listed *f, Choice *c, attnc_error *e)
{
  char *text;
  size_t n;
  Recipe *r = NULL;
  TRY(read_listed(b, f, &text, &n, e));
  attnc_status status = recipe_parse(text, n, &r, e);
  free(text);
  if (status != ATTNC_OK)
    return status;
  const Listed *ptx;
  int rank = rule_suits(r->cc, r->exact);
  status = find_ptx(b, f, r->ptx_sha256, &ptx, e);
  c->seen = true;
  if (status == ATTNC_OK && rank > c->rank &&
      plan_fits(r, b->drv, b->device, &c->refusal) == ATTNC_OK) {
    c->json = f;
    c->ptx = ptx;
    c->rank = rank;
  }
  recipe_free(r);
  return status;
}

static attnc_status
choose(const attnc_bundle *b, const char *name, Choice *c, attnc_error *e)
{
  for (int i = 0; i < b->files.n; i++)
    if (is_recipe_of(b->files.at[i].name, name))
      TRY(consider(b, &b->files.at[i], c, e));
  if (c->json)
    return ATTNC_OK;
  if (!c->seen)
    return err_set(e, ATTNC_ERR_USAGE, "%s: no kernel is named %s", b->dir, name);
  if (e)
    *e = c->refusal;
  return ATTNC_ERR_UNSUPPORTED;
}

static attnc_status
load_pair(const attnc_bundle *b, const Choice *c, double start, attnc_plan **out,
          attnc_error *e)
{
  char *json_text = NULL, *ptx_text = NULL;
  size_t json_n = 0, ptx_n = 0;
  attnc_status status = read_listed(b, c->json, &json_text, &json_n, e);
  if (status != ATTNC_OK)
    return status;
  status = read_listed(b, c->ptx, &ptx_text, &ptx_n, e);
  if (status == ATTNC_OK) {
    PlanText text = {.ptx = ptx_text,
                     .what = c->ptx->name,
                     .json = json_text,
                     .json_n = json_n,
                     .source = "bundle",
                     .layer = "bundle",
                     .lookup = clock_seconds() - start};
    status = plan_load(b->drv, b->device, &text, out, e);
    free(ptx_text);
  }
  free(json_text);
  return status;
}

attnc_status
attnc_bundle_plan(attnc_bundle *b, const char *name, attnc_plan **out, attnc_error *e)
{
  Choice c = {0};
  if (!b || !name || !out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_bundle_plan: an argument is NULL");
  *out = NULL;
  double start = clock_seconds();
  TRY(choose(b, name, &c, e));
  return load_pair(b, &c, start, out, e);
}
