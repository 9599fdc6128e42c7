/* own.h: what a spec says of a call that is no part of the kernel.
 *
 * Specs that differ in these alone have one key and share its entry, so they are never
 * taken from an entry: a plan has those of the spec that it was asked with.  A bundle's
 * recipe stands beside its own spec and keeps what it says. */
#ifndef ATTNC_RUNTIME_OWN_H
#define ATTNC_RUNTIME_OWN_H

#include "base/hash.h"
#include "runtime/recipe.h"

/* A run-time scalar's value where the call gives none. */
typedef struct OwnScalar {
  const char *name;
  double initial;
} OwnScalar;

typedef struct Own {
  const char *name; /* of the spec */
  OwnScalar scalars[RECIPE_SCALARS];
  int n_scalars;
} Own; /* points into the spec */

/* Puts them into a recipe that nobody else has.  ATTNC_ERR_IO: the recipe has a run-time
 * scalar of which the spec says nothing. */
attnc_status own_put(const Own *, Recipe *, attnc_error *);
void own_hash(const Own *, Sha256 *);

#endif
