#include "runtime/own.h"

#include "base/err.h"
#include "base/str.h"

#include <string.h>

static const OwnScalar *
find(const Own *own, const char *name)
{
  for (int i = 0; i < own->n_scalars; i++)
    if (str_eq(own->scalars[i].name, name))
      return &own->scalars[i];
  return NULL;
}

/* In the recipe's text, which attnc_plan_json tells. */
static int
put_in_text(const Own *own, const Recipe *r)
{
  size_t i;
  json_t *scalar;
  int failed = 0;
  json_array_foreach(json_object_get(r->json, "scalars"), i, scalar)
  {
    const char *name = json_string_value(json_object_get(scalar, "name"));
    const OwnScalar *o = name ? find(own, name) : NULL;
    if (o)
      failed |= json_object_set_new(scalar, "default", json_real(o->initial));
  }
  return failed | json_object_set_new(r->json, "name", json_string(own->name));
}

attnc_status
own_put(const Own *own, Recipe *r, attnc_error *e)
{
  for (int i = 0; i < RECIPE_SCALARS; i++) {
    RecipeScalar *s = &r->scalars[i];
    if (!s->name || s->fixed)
      continue;
    const OwnScalar *o = find(own, s->name);
    if (!o)
      return err_set(e, ATTNC_ERR_IO, "%s: the recipe has a scalar %.40s, the spec has not",
                     own->name, s->name);
    s->initial = (float)o->initial;
  }
  if (put_in_text(own, r))
    return err_set(e, ATTNC_ERR_NOMEM, "recipe: out of memory");
  r->name = json_string_value(json_object_get(r->json, "name"));
  return ATTNC_OK;
}

void
own_hash(const Own *own, Sha256 *s)
{
  sha256_field(s, "name", own->name, strlen(own->name));
  for (int i = 0; i < own->n_scalars; i++)
    sha256_field(s, own->scalars[i].name, &own->scalars[i].initial,
                 sizeof own->scalars[i].initial);
}
