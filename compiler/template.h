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

/* How: a point of a template's space; the fields of attnc_schedule, resolved.  Those that
 * the template does not use are 0. */
typedef struct Sched {
  const struct Template *tmpl;
  int bm, bn;     /* block_m, block_n */
  int stages;     /* num_stages */
  int warps;      /* num_warps */
  int scheduler;  /* SCHED_GRID … */
  int cluster, q_stages, poly;
  bool q_regs;    /* Q in registers */
  bool p_smem;    /* P in shared memory */
  bool overlap, pingpong, pack, tma_store, cross_tile, skip;
} Sched;
enum { SCHED_GRID = 1, SCHED_PERSISTENT, SCHED_EXACT };

/* What a schedule takes and is estimated to cost; the exact model of shared memory is
 * compared with the plan of the tile program by a test. */
typedef struct SchedCost {
  int smem;        /* bytes, exact */
  int regs;        /* a thread, estimate of the values that live in the main loop */
  int ctas_sm;     /* resident blocks on a multiprocessor */
  double cycles;   /* for the problem's sizes, whole grid on `sms` multiprocessors */
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
  Dtype dt;           /* of q, k and v where they are equal */
  Mask mask;
  Idx h, hk, sq, sk;
} Fwd;

typedef struct Template {
  const char *name, *what;
  int revision; /* in the key beside the code id, for readers */
  unsigned fields; /* of attnc_schedule that it uses: 1u << SF_… */
  /* Can it take this spec on this target?  `reason` is called with each why not. */
  bool (*applicable)(const Case *, void (*reason)(void *, const char *), void *user);
  /* The n-th point of the whole space, legal or not; false past the end. */
  bool (*space)(const Case *, int n, Sched *);
  /* NULL if this schedule is legal, else the limit that refuses it, in the arena. */
  const char *(*refuse)(const Case *, const Sched *, Arena *);
  SchedCost (*cost)(const Case *, const Sched *);
  Sched (*initial)(const Case *); /* the default: always legal where applicable */
  /* Grid axis x is ceil_div(sq, bm); y is h, z is b; block is 32 · warps threads. */
  void (*emit)(Tb *, const Fwd *, const Sched *);
  void (*print)(const Sched *, Str *);
  int codegen_level; /* LLVM's: 0 none … 3 aggressive */
} Template;

/* block_m, block_n, num_stages, num_warps, which every template has. */
#define TILE_FIELDS (1u << SF_block_m | 1u << SF_block_n | 1u << SF_num_stages | 1u << SF_num_warps)

extern const Template *const template_table[];
extern const int n_templates;
const Template *template_find(const char *name);

#endif
