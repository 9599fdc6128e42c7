/* template.h: what a kernel template is: applicable, space, cost, emit, print, in that
 * order in every file; templates/table.c is the only place that names them.
 *
 * A template never fails while emitting: it is called only with a schedule that its own
 * `space` offered, and a fault of its own ends in t_fail (tile.h). */
#ifndef ATTNC_COMPILER_TEMPLATE_H
#define ATTNC_COMPILER_TEMPLATE_H

#include "base/schedule.h"
#include "compiler/spec.h"
#include "compiler/target.h"
#include "compiler/tile.h"

/* The fields of attnc_schedule, resolved, as templates name them; all of them, in order. */
#define SCHED_TABLE(X)                                                                     \
  X(block_m, int, bm)                                                                      \
  X(block_n, int, bn)                                                                      \
  X(num_stages, int, stages)                                                               \
  X(num_warps, int, warps)                                                                 \
  X(q_in_regs, bool, q_regs)                                                               \
  X(p_in_smem, bool, p_smem)                                                               \
  X(overlap, bool, overlap)                                                                \
  X(pingpong, bool, pingpong)                                                              \
  X(scheduler, int, scheduler)                                                             \
  X(cluster, int, cluster)                                                                 \
  X(pack_gqa, bool, pack)                                                                  \
  X(tma_store, bool, tma_store)                                                            \
  X(q_stages, int, q_stages)                                                               \
  X(cross_tile, bool, cross_tile)                                                          \
  X(skip_rescale, bool, skip)                                                              \
  X(poly_exp2, int, poly)                                                                  \
  X(narrow_diagonal, bool, narrow)                                                         \
  X(private_epilogue, bool, private_end)

/* How: a point of a template's space.  What the template does not use is 0. */
typedef struct Sched {
  const struct Template *tmpl;
#define X(field, type, name) type name;
  SCHED_TABLE(X)
#undef X
} Sched;
enum { SCHED_GRID = 1, SCHED_PERSISTENT, SCHED_EXACT }; /* in the order of the names */

/* What a schedule takes and is estimated to cost; the exact model of shared memory is
 * compared with the plan of the tile program by a test. */
typedef struct SchedCost {
  int smem;      /* bytes, exact */
  int regs;      /* a thread, estimate of the values that live in the main loop */
  int ctas_sm;   /* resident blocks on a multiprocessor */
  double cycles; /* for the problem's sizes, whole grid on `sms` multiprocessors */
} SchedCost;

/* Everything that `space` and `cost` may look at. */
typedef struct Case {
  const Spec *spec;
  const Target *target;
  int64_t b, h, hk, sq, sk; /* hints; 0: unknown, a middling problem is assumed */
  int sms;
} Case;

/* What a forward template is given: the call's tensors and the names of its sizes. */
typedef struct Fwd {
  const Spec *spec;
  const Tensor *q, *k, *v, *o, *lse; /* lse NULL: not wanted */
  int d, dv;
  Dtype dt; /* of q, k and v where they are equal */
  Mask mask;
  Idx h, hk, sq, sk;
} Fwd;

/* Why not, in words; several reasons are joined.  Of fixed size, so that a refusal can
 * never be lost for want of memory. */
typedef struct Why {
  char text[256];
} Why;
/* Notes a reason (why NULL: nobody asks) and is true: `return refused(why, "…", …);`. */
bool refused(Why *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What a template takes for granted of a spec and a target. */
typedef struct Rule {
  bool ok;
  const char *why;
} Rule;
bool rules_hold(const Rule *, int n, Why *); /* notes each that does not */

typedef struct Template {
  const char *name, *what;
  int revision;    /* in the key beside the code id, for readers */
  unsigned fields; /* of attnc_schedule that it uses: 1u << SF_… */
  /* Can it take this spec on this target? */
  bool (*applicable)(const Case *, Why *);
  /* The n-th point of the whole space, legal or not; false past the end. */
  bool (*space)(const Case *, int n, Sched *);
  int core; /* points from the first on among which the cost model chooses; 0: all of them
             */
  /* True for a schedule that is not legal; notes the limit that refuses it. */
  bool (*refuse)(const Case *, const Sched *, Why *);
  SchedCost (*cost)(const Case *, const Sched *);
  Sched (*initial)(const Case *); /* the default: always legal where applicable */
  /* A block is 32 · warps threads; how many there are is t_grid's to say. */
  void (*emit)(Tb *, const Fwd *, const Sched *);
  void (*print)(const Sched *, Str *);
  int codegen_level; /* LLVM's: 0 none … 3 aggressive */
} Template;

/* Which every template has. */
#define TILE_FIELDS                                                                        \
  (1u << SF_block_m | 1u << SF_block_n | 1u << SF_num_stages | 1u << SF_num_warps)

extern const Template *const template_table[];
extern const int n_templates;
const Template *template_find(const char *name);

#endif
