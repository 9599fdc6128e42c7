/* gen.h: the compiler's table of contents: spec + problem + target + schedule → PTX text
 * and launch recipe.  A pure function of its arguments: no driver, no disk, no global state
 * beyond the LLVM module, which is opened at the first kernel that needs it.
 *
 * The public face (attnc_compile, attnc_schedules, attnc_kernel_*) is in api.c; what is
 * here is for the runtime's jit.c: the choice of a schedule, and what enters the key. */
#ifndef ATTNC_COMPILER_GEN_H
#define ATTNC_COMPILER_GEN_H

#include "base/call.h"
#include "compiler/template.h"

#include <attnc/attnc.h>

/* Fills in what `want` (NULL: everything) leaves open: first the spec's pins for the
 * target, then the best legal schedule of the cost model for the problem's sizes (NULL: a
 * default problem), else the template's default.  *source says which decided: "pinned",
 * "model" or "default".  ATTNC_ERR_UNSUPPORTED names the limits that refuse a pinned or
 * wanted schedule, ATTNC_ERR_USAGE a name or value that no template has. */
attnc_status gen_schedule(const Spec *, const ProblemCopy *, const Target *,
                          const Schedule *want, Sched *out, const char **source,
                          attnc_error *);

/* attnc_compile_with of a schedule that gen_schedule has chosen for the same arguments. */
attnc_status gen_compile(const Spec *, const ProblemCopy *, const Target *, const Sched *,
                         const attnc_compile_options *, attnc_kernel **, attnc_error *);

/* The caller's problem, copied and checked; where the spec specialises strides, those that
 * nothing steps along are 0. */
attnc_status gen_problem(const Spec *, const attnc_problem *, ProblemCopy *, attnc_error *);

/* The values of the names that the spec specialises, sizes first, as
 * text ("sq=4096 sk=4096"): what enters the key.  ATTNC_ERR_USAGE names a missing one. */
attnc_status gen_values(const Spec *, const ProblemCopy *, Str *, attnc_error *);

/* PTX version of the kernel, 70 for 7.0: the lowest that has what is used, or the one asked
 * for in options, which must not be below that. */
int gen_ptx_version(const Target *, const Sched *);

extern const char *const gen_code_id;      /* hash over compiler/ and templates/ */
extern const char *const gen_llvm_version; /* that libattnc was built with */
/* The code generation options that decide the text: pass list, level. */
const char *gen_options(const Sched *);

#endif
