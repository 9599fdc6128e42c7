/* emit_c.h: a kernel as C: one source with the PTX of every target, its cubin or both, and
 * a header with a launcher typed for the spec, over the plain CUDA Driver API (cuda.h).
 *
 * The launcher is written from the launch recipe: it checks what the recipe requires,
 * evaluates the grid and launches every step; nothing of attnc is needed to use it.  A
 * recipe with something that the launcher could not honour is ATTNC_ERR_UNSUPPORTED. */
#ifndef ATTNC_CLI_EMIT_C_H
#define ATTNC_CLI_EMIT_C_H

#include "base/call.h"
#include "base/str.h"

#include <attnc/attnc.h>

#include <jansson.h>
#include <stdbool.h>

enum { EMIT_C_TARGETS = 32 };

typedef struct EmitC {
  Arena *arena;
  const char *name;
  int n;
  const char *targets[EMIT_C_TARGETS];
  bool exact[EMIT_C_TARGETS], ptx[EMIT_C_TARGETS], cubin[EMIT_C_TARGETS];
  int entries[EMIT_C_TARGETS], most_entries;
  bool maps, fits;  /* some kernel has tensor maps; some of them boxes that fit a size */
  long long zeroed; /* bytes of workspace: the most of any target */
  Str args;         /* members of NAME_args */
  Str defaults;     /* macros with the values of scalars that the spec has */
  Str body;         /* PTX and launch functions */
} EmitC;

/* What of a kernel is in the C: either may be NULL.  A cubin is loaded before the PTX. */
typedef struct EmitImages {
  const char *ptx, *cubin;
  size_t cubin_n;
} EmitImages;

void emit_c_start(EmitC *, Arena *, const char *name);
attnc_status emit_c_kernel(EmitC *, const char *json, const EmitImages *, attnc_error *);
void emit_c_finish(EmitC *, Str *source, Str *header);

/* ---- emit_c_rules.c: what is checked, in this order; grids are between ---- */

/* Has the kernel's call this size?  Those behind sk are there with a tensor's axis. */
bool emit_c_has_size(const json_t *recipe, SizeId);
/* Declares `fault`. */
void emit_c_sizes(EmitC *, const json_t *recipe);
/* A variable for each scalar that is no constant. */
void emit_c_scalars(EmitC *, const json_t *recipe);
/* NAME_stride of each tensor: what the kernel is given. */
attnc_status emit_c_tensors(EmitC *, const json_t *recipe, attnc_error *);

/* ---- emit_c_launch.c ---- */

/* A function that kernels with maps need. */
extern const char emit_c_map_text[], emit_c_fit_text[];
/* Bytes of an element; 0: unknown dtype. */
int emit_c_bytes(const char *dtype);
/* Parameter p, a tensor map; `other` is a tensor that always has memory.  Needs `r`. */
attnc_status emit_c_map(EmitC *, const json_t *tensor, const char *other, const json_t *map,
                        size_t p, attnc_error *);
/* Does the cluster divide gridSTEP? */
void emit_c_cluster(EmitC *, const json_t *launch, size_t step);
/* The driver's call, from k, runsSTEP, gridSTEP, paramsSTEP and stream; sets `r`. */
void emit_c_call(EmitC *, const json_t *launch, size_t step, size_t function);

/* ---- emit_c_steps.c ---- */

/* The first bytes of workspace that must be zero before the first launch. */
long long emit_c_zeroed(const json_t *recipe);
/* workspace_TARGET and launch_TARGET. */
attnc_status emit_c_steps(EmitC *, const json_t *recipe, const char *target, attnc_error *);

#endif
