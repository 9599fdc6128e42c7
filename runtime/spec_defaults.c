#include "runtime/spec_defaults.h"

#include "base/err.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

static const ScalarDefault *
find(const SpecDefaults *d, const char *name)
{
  for (int i = 0; i < d->n_scalars; i++)
    if (str_eq(d->scalars[i].name, name))
      return &d->scalars[i];
  return NULL;
}

/* In the recipe's text, which attnc_plan_json tells. */
static int
put_in_text(const SpecDefaults *d, const Recipe *r)
{
  size_t i;
  json_t *scalar;
  int failed = 0;
  json_array_foreach(json_object_get(r->json, "scalars"), i, scalar)
  {
    const char *name = json_string_value(json_object_get(scalar, "name"));
    const ScalarDefault *o = name ? find(d, name) : NULL;
    if (o)
      failed |= json_object_set_new(
          scalar, "default", isnan(o->initial) ? json_null() : json_real(o->initial));
  }
  return failed | json_object_set_new(r->json, "name", json_string(d->name));
}

attnc_status
spec_defaults_put(const SpecDefaults *d, Recipe *r, attnc_error *e)
{
  for (int i = 0; i < RECIPE_SCALARS; i++) {
    RecipeScalar *s = &r->scalars[i];
    if (!s->name || s->fixed)
      continue;
    const ScalarDefault *o = find(d, s->name);
    if (!o)
      return err_set(e, ATTNC_ERR_IO, "%s: the recipe has a scalar %.40s, the spec has not",
                     d->name, s->name);
    s->initial = (float)o->initial;
  }
  if (put_in_text(d, r))
    return err_set(e, ATTNC_ERR_NOMEM, "recipe: out of memory");
  r->name = json_string_value(json_object_get(r->json, "name"));
  return ATTNC_OK;
}

void
spec_defaults_hash(const SpecDefaults *d, Sha256 *s)
{
  sha256_field(s, "name", d->name, strlen(d->name));
  for (int i = 0; i < d->n_scalars; i++)
    sha256_field(s, d->scalars[i].name, &d->scalars[i].initial,
                 sizeof d->scalars[i].initial);
}
