/* recipe_read.h: reading a recipe's JSON: values with their place, and axes.
 *
 * Every function here that refuses says where ("steps[0].launch.params[3]") and what was
 * due.  Texts stay owned by the tree, which the recipe keeps. */
#ifndef ATTNC_RUNTIME_RECIPE_READ_H
#define ATTNC_RUNTIME_RECIPE_READ_H

#include "runtime/recipe.h"

typedef struct Reader {
  Recipe *r;
  attnc_error *e;
  char at[96];            /* where we are; empty: at top level */
  Axis axes[RECIPE_AXES]; /* by id: those that differ */
  int n_axes;
} Reader;

attnc_status read_bad(Reader *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
attnc_status read_no_memory(Reader *);

/* An object with no keys but these, which end in NULL. */
attnc_status read_object(Reader *, json_t *, const char *const *keys);
attnc_status read_text(Reader *, json_t *object, const char *key, const char **);
attnc_status read_int(Reader *, json_t *object, const char *key, int lo, int hi, int *);
attnc_status read_int_in(Reader *, json_t *, const char *what, int64_t lo, int64_t hi,
                         int64_t *);
attnc_status read_bool(Reader *, json_t *object, const char *key, bool *out);
attnc_status read_array(Reader *, json_t *, const char *what, size_t lo, size_t hi);
/* The index of a name, -1 if it is none of them (or NULL). */
int read_name(const char *name, const char *const *names, int n);
attnc_status read_size(Reader *, json_t *, SizeId *);

/* {"mul": [factor, …]} or one bare factor; depth counts nested minima. */
attnc_status read_axis(Reader *, json_t *, int depth, Axis *);

/* A tensor map, the object of a parameter of type map. */
attnc_status read_map(Reader *, json_t *, TensorMap *);
/* All steps, into the recipe; tensors, scalars and requirements were read before. */
attnc_status read_steps(Reader *, json_t *list);

#endif
