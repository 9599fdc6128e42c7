/* Bundles: kernels as files, NAME.TARGET.json with NAME.TARGET.ptx, NAME.TARGET.cubin or
 * both, in a directory or in a pack (bundle_files.h). */
#include "base/clock.h"
#include "base/err.h"
#include "base/rules.h"
#include "base/str.h"
#include "runtime/bundle_files.h"
#include "runtime/plan.h"

#include <stdlib.h>
#include <string.h>

struct attnc_bundle {
  Arena *arena;
  BundleFiles files;
  const Driver *drv;
  const Device *device;
};

/* ---- open and release ---- */

static attnc_bundle *
bundle_new(attnc_error *e)
{
  Arena *arena = arena_new(0);
  attnc_bundle *b = arena ? NEW(arena, attnc_bundle) : NULL;
  if (b) {
    b->arena = arena;
    return b;
  }
  arena_free(arena);
  err_set(e, ATTNC_ERR_NOMEM, "bundle: out of memory");
  return NULL;
}

/* Of a bundle whose files were opened with that status. */
static attnc_status
bundle_done(attnc_bundle *b, attnc_status status, attnc_bundle **out, attnc_error *e)
{
  if (status == ATTNC_OK)
    status = drv_open(NULL, &b->drv, e);
  if (status == ATTNC_OK)
    status = drv_device(b->drv, -1, &b->device, e);
  if (status == ATTNC_OK)
    *out = b;
  else
    attnc_bundle_release(b);
  return status;
}

attnc_status
attnc_bundle_open(const char *path, attnc_bundle **out, attnc_error *e)
{
  if (!path || !out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_bundle_open: an argument is NULL");
  *out = NULL;
  attnc_bundle *b = bundle_new(e);
  if (!b)
    return ATTNC_ERR_NOMEM;
  return bundle_done(b, bundle_files_open(&b->files, b->arena, path, e), out, e);
}

attnc_status
attnc_bundle_open_memory(const void *pack, size_t bytes, attnc_bundle **out, attnc_error *e)
{
  if (!pack || !out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_bundle_open_memory: an argument is NULL");
  *out = NULL;
  attnc_bundle *b = bundle_new(e);
  if (!b)
    return ATTNC_ERR_NOMEM;
  return bundle_done(b, bundle_files_view(&b->files, b->arena, pack, bytes, e), out, e);
}

void
attnc_bundle_release(attnc_bundle *b)
{
  if (!b)
    return;
  drv_close(b->drv);
  bundle_files_close(&b->files);
  arena_free(b->arena);
}

/* ---- choosing a kernel ---- */

/* The best of the kernels of one name: an exact target before a plain one, then the
 * higher; `refusal` keeps why one did not fit. */
typedef struct Choice {
  const PackFile *json, *ptx, *cubin; /* one of the latter two may be NULL */
  int rank;                           /* 0: none yet */
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

/* The file beside a recipe, which must be the one that the recipe speaks of. */
static attnc_status
find_image(const attnc_bundle *b, const PackFile *json, const char *end, const char *hash,
           const PackFile **out, attnc_error *e)
{
  *out = bundle_files_beside(&b->files, json, end);
  if (!*out || (hash && !strcmp((*out)->hash, hash)))
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_IO, "%s/%s: is not the %s that %s was made with",
                 b->files.name, (*out)->name, str_eq(end, ".ptx") ? "PTX" : "cubin",
                 json->name);
}

static attnc_status
find_images(const attnc_bundle *b, const PackFile *json, const Recipe *r, Choice *out,
            attnc_error *e)
{
  *out = (Choice){.json = json};
  TRY(find_image(b, json, ".ptx", r->ptx_sha256, &out->ptx, e));
  TRY(find_image(b, json, ".cubin", r->cubin_sha256, &out->cubin, e));
  if (out->ptx || out->cubin)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_IO,
                 "%s: MANIFEST.sha256 lists %s but not its PTX, nor its cubin",
                 b->files.name, json->name);
}

/* Takes the kernel of a recipe if it is better than what there is. */
static attnc_status
weigh(const attnc_bundle *b, const PackFile *json, const Recipe *r, Choice *c,
      attnc_error *e)
{
  Choice this;
  TRY(find_images(b, json, r, &this, e));
  const PlanImages there = {.ptx = this.ptx, .cubin = this.cubin};
  int rank = rule_suits(r->cc, r->exact);
  c->seen = true;
  if (rank > c->rank && plan_fits(r, &there, b->drv, b->device, &c->refusal) == ATTNC_OK) {
    c->json = json;
    c->ptx = this.ptx;
    c->cubin = this.cubin;
    c->rank = rank;
  }
  return ATTNC_OK;
}

static attnc_status
consider(const attnc_bundle *b, const PackFile *json, Choice *c, attnc_error *e)
{
  BundleText text;
  Recipe *r = NULL;
  TRY(bundle_files_read(&b->files, json, &text, e));
  attnc_status status = recipe_parse(text.bytes, text.n, &r, e);
  bundle_text_free(&text);
  if (status != ATTNC_OK)
    return status;
  status = weigh(b, json, r, c, e);
  recipe_free(r);
  return status;
}

static attnc_status
choose(const attnc_bundle *b, const char *name, Choice *c, attnc_error *e)
{
  for (int i = 0; i < b->files.files.n; i++)
    if (is_recipe_of(b->files.files.at[i].name, name))
      TRY(consider(b, &b->files.files.at[i], c, e));
  if (c->json)
    return ATTNC_OK;
  if (!c->seen)
    return err_set(e, ATTNC_ERR_USAGE, "%s: no kernel is named %s", b->files.name, name);
  if (e)
    *e = c->refusal;
  return ATTNC_ERR_UNSUPPORTED;
}

/* What was chosen, in memory. */
typedef struct Loaded {
  BundleText json, ptx, cubin;
} Loaded;

static attnc_status
read_chosen(const attnc_bundle *b, const Choice *c, Loaded *l, attnc_error *e)
{
  *l = (Loaded){0};
  TRY(bundle_files_read(&b->files, c->json, &l->json, e));
  if (c->ptx)
    TRY(bundle_files_read(&b->files, c->ptx, &l->ptx, e));
  return c->cubin ? bundle_files_read(&b->files, c->cubin, &l->cubin, e) : ATTNC_OK;
}

static attnc_status
load_chosen(const attnc_bundle *b, const Choice *c, double start, attnc_plan **out,
            attnc_error *e)
{
  Loaded l;
  attnc_status status = read_chosen(b, c, &l, e);
  if (status == ATTNC_OK) {
    PlanText text = {.ptx = l.ptx.bytes,
                     .cubin = l.cubin.bytes,
                     .what = c->ptx ? c->ptx->name : NULL,
                     .json = l.json.bytes,
                     .json_n = l.json.n,
                     .source = "bundle",
                     .layer = b->files.pack ? "pack" : "bundle",
                     .lookup = clock_seconds() - start};
    status = plan_load(b->drv, b->device, &text, out, e);
  }
  bundle_text_free(&l.json);
  bundle_text_free(&l.ptx);
  bundle_text_free(&l.cubin);
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
  return load_chosen(b, &c, start, out, e);
}
