/* spec_defaults.h: what a spec says of a call that is no part of the kernel.
 *
 * Specs that differ in these alone have one key and share its entry, so they are never
 * taken from an entry: a plan has those of the spec that it was asked with.  A bundle's
 * recipe stands beside its own spec and keeps what it says. */
#ifndef ATTNC_RUNTIME_SPEC_DEFAULTS_H
#define ATTNC_RUNTIME_SPEC_DEFAULTS_H

#include "base/hash.h"
#include "runtime/recipe.h"

/* A run-time scalar's value where the call gives none. */
typedef struct ScalarDefault {
  const char *name;
  double initial;
} ScalarDefault;

typedef struct SpecDefaults {
  const char *name; /* of the spec */
  ScalarDefault scalars[RECIPE_SCALARS];
  int n_scalars;
} SpecDefaults; /* points into the spec */

/* Puts them into a recipe that nobody else has.  ATTNC_ERR_IO: the recipe has a run-time
 * scalar of which the spec says nothing. */
attnc_status spec_defaults_put(const SpecDefaults *, Recipe *, attnc_error *);
void spec_defaults_hash(const SpecDefaults *, Sha256 *);

#endif
