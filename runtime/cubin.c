#include "runtime/cubin.h"

#include "base/clock.h"
#include "base/hash.h"
#include "runtime/assembler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "attnc.cubin/1"

/* Code for this very device: of the kernel's own target where no other runs it. */
static void
arch_of(const attnc_plan *p, char arch[32])
{
  if (p->recipe->exact)
    snprintf(arch, 32, "%s", p->recipe->target);
  else
    snprintf(arch, 32, "sm_%d", p->device.cc);
}

static void
key_of(const Cubin *c, const char *arch, unsigned char key[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_field(&s, "schema", SCHEMA, strlen(SCHEMA));
  sha256_field(&s, "ptx", c->ptx, strlen(c->ptx));
  sha256_field(&s, "assembler", c->id, strlen(c->id));
  sha256_field(&s, "arch", arch, strlen(arch));
  sha256_end(&s, key);
}

/* ---- from the cache ---- */

/* What another version wrote is none. */
static bool
found(Cubin *c, const unsigned char key[32])
{
  c->entry = cache_peek(c->ctx->cache, key);
  c->said = c->entry ? json_loadb(c->entry->json, c->entry->json_n, 0, NULL) : NULL;
  const char *schema = json_string_value(json_object_get(c->said, "schema"));
  if (schema && !strcmp(schema, SCHEMA) && c->entry->ptx_n)
    return true;
  json_decref(c->said);
  entry_release(c->entry);
  c->said = NULL;
  c->entry = NULL;
  return false;
}

/* ---- assembled ---- */

static Entry *
entry_of(const Cubin *c, const attnc_plan *p, const char *arch, const Assembly *made,
         const unsigned char key[32])
{
  json_t *root =
      json_pack("{s:s, s:s, s:s, s:s, s:s}", "schema", SCHEMA, "name", p->recipe->name,
                "assembler", c->id, "arch", arch, "log", made->log);
  char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
  Entry *x = text ? entry_make(key, "", text, made->cubin, made->n) : NULL;
  free(text);
  json_decref(root);
  return x;
}

static void
assemble(Cubin *c, const Assembler *by, const attnc_plan *p, const char *arch,
         const unsigned char key[32])
{
  Assembly made = {0};
  attnc_error e = {0};
  double start = clock_seconds();
  attnc_status status = by->run(p->drv, c->ptx, strlen(c->ptx), arch, &made, &e);
  stats_since(&c->ctx->stats, assemble_us, start);
  trace_span(c->ctx->trace, "assemble", p->recipe->name, c->id, start);
  if (status != ATTNC_OK) {
    stats_add(&c->ctx->stats, assemble_errors, 1);
    context_log(c->ctx, 1, "%s for %s: %s: %s; the driver is given the PTX",
                p->recipe->name, arch, c->id, e.message);
    return;
  }
  stats_add(&c->ctx->stats, assembled, 1);
  context_log(c->ctx, 2, "assembled %s for %s by %s, %.0f ms", p->recipe->name, arch, c->id,
              (clock_seconds() - start) * 1e3);
  c->entry = entry_of(c, p, arch, &made, key);
  c->said = c->entry ? json_loadb(c->entry->json, c->entry->json_n, 0, NULL) : NULL;
  if (c->entry)
    cache_put(c->ctx->cache, c->entry);
  free(made.cubin);
  free(made.log);
}

static void
find_or_assemble(Cubin *c, const Assembler *by, const attnc_plan *p)
{
  unsigned char key[32];
  char arch[32];
  arch_of(p, arch);
  key_of(c, arch, key);
  bool hit = found(c, key);
  if (!hit) {
    CacheLock lock = cache_lock(c->ctx->cache, key);
    hit = lock.look_again && found(c, key);
    if (!hit)
      assemble(c, by, p, arch, key);
    cache_unlock(c->ctx->cache, &lock);
  }
  if (!hit)
    return;
  stats_add(&c->ctx->stats, cubin_hits, 1);
  context_log(c->ctx, 3, "hit: the cubin of %s for %s, by %s, is in the cache",
              p->recipe->name, arch, c->id);
}

/* ---- asked by plan_load ---- */

static bool
get(PlanCubin *plan, const attnc_plan *p)
{
  Cubin *c = (Cubin *)plan;
  for (int i = 0; i < c->ctx->n_assemblers; i++)
    if (c->ctx->assemblers[i]->identify(p->drv, c->id)) {
      find_or_assemble(c, c->ctx->assemblers[i], p);
      break;
    }
  if (!c->entry)
    return false;
  plan->image = c->entry->ptx;
  plan->log = json_string_value(json_object_get(c->said, "log"));
  return true;
}

void
cubin_start(Cubin *c, attnc_context *ctx, const char *ptx)
{
  *c = (Cubin){.plan.get = get, .ctx = ctx, .ptx = ptx};
}

void
cubin_end(Cubin *c)
{
  if (*c->plan.refused.message) {
    stats_add(&c->ctx->stats, cubins_refused, 1);
    context_log(c->ctx, 1, "the cubin by %s is refused: %s; the driver is given the PTX",
                c->id, c->plan.refused.message);
  }
  json_decref(c->said);
  entry_release(c->entry);
}
