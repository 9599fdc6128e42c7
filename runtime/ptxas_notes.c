#include "runtime/ptxas_notes.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "attnc.verdict/1"

static void
key_of(const char *ptx, const attnc_plan *p, unsigned char key[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_field(&s, "schema", SCHEMA, strlen(SCHEMA));
  sha256_field(&s, "ptx", ptx, strlen(ptx));
  sha256_field(&s, "driver", &p->drv->version, sizeof p->drv->version);
  sha256_field(&s, "cc", &p->device.cc, sizeof p->device.cc);
  sha256_end(&s, key);
}

static void
keep(attnc_context *c, const char *ptx, const attnc_plan *p)
{
  unsigned char key[32];
  json_t *root = json_pack("{s:s, s:s, s:i, s:i, s:O}", "schema", SCHEMA, "name",
                           p->recipe->name, "driver", p->drv->version, "cc", p->device.cc,
                           "diagnostics", p->diagnostics);
  char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
  key_of(ptx, p, key);
  Entry *x = text ? entry_make(key, "", text, "", 0) : NULL;
  if (x)
    cache_put(c->cache, x);
  entry_release(x);
  free(text);
  json_decref(root);
}

static attnc_status
recall(attnc_context *c, const char *ptx, attnc_plan *p, attnc_error *e)
{
  unsigned char key[32];
  key_of(ptx, p, key);
  Entry *x = cache_peek(c->cache, key);
  json_t *root = x ? json_loadb(x->json, x->json_n, 0, NULL) : NULL;
  json_t *strings = json_object_get(root, "diagnostics");
  attnc_status status = strings ? plan_diagnose(p, strings, e) : ATTNC_OK;
  json_decref(root);
  entry_release(x);
  return status;
}

attnc_status
ptxas_notes_settle(attnc_context *c, const char *ptx, attnc_plan *p, attnc_error *e)
{
  size_t i;
  json_t *line;
  attnc_status status = ATTNC_OK;
  if (p->compiled && json_array_size(p->diagnostics))
    keep(c, ptx, p);
  else if (!p->compiled && !p->from_cubin && p->recipe->exact)
    status = recall(c, ptx, p, e);
  json_array_foreach(p->diagnostics, i, line) context_log(
      c, 1, "%s for %s: %s", p->recipe->name, p->recipe->target, json_string_value(line));
  return status;
}
