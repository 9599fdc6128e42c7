/* call.h: what callers hand in, copied out of their structs, and the checks that are the
 * same at every door: launch, compile, plans, schedules, tiles, reference.
 *
 * A struct of another version is shorter or longer than ours.  A shorter one is served,
 * what it lacks is zero; a longer one as long as what is not known here is zero.  Pure; a
 * copy owns nothing but points at what the caller's did. */
#ifndef ATTNC_BASE_CALL_H
#define ATTNC_BASE_CALL_H

#include "base/dtype.h"
#include "base/rules.h"

#include <attnc/attnc.h>

#include <stdbool.h>

enum {
  CALL_SLOTS = 64,         /* tensors of a call, those that a spec declares with them */
  CALL_SCALARS = 32,       /* numbers of a call, likewise */
  CALL_STRIDES = 5,        /* of a tensor */
  CALL_STEPS = 8,          /* launches and memsets of a kernel */
  CALL_REGIONS = 24,       /* of workspace */
  CALL_ALIGN = 16,         /* bytes, of what is read in pieces of so many */
  CALL_REGION_ALIGN = 256, /* bytes, of a region from the start of the workspace */
};

/* Sizes of a call are at most this, so that sums of them with mask bounds stay in 32 bits
 * in the kernels that the compiler makes. */
#define CALL_MAX_SIZE ((int64_t)1 << 30)

/* Bytes of a struct up to and with this member: the least that its first version had. */
#define SIZE_UPTO(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

/* `from` begins with its size.  ATTNC_ERR_USAGE: from is NULL, its size is less than
 * `least` or no size at all, or it sets what is behind our `size` bytes. */
attnc_status struct_take(void *to, size_t size, const void *from, size_t least,
                         const char *name, attnc_error *);
/* The other way: fills a struct of the caller's, which begins with its size and keeps it,
 * from ours.  ATTNC_ERR_USAGE as above, but for what is behind, which becomes zero. */
attnc_status struct_give(void *to, const void *from, size_t size, size_t least,
                         const char *name, attnc_error *);
/* An element of an array whose elements are `step` bytes apart. */
const void *array_at(const void *array, size_t step, size_t i);

/* ---- sizes ---- */

typedef enum SizeId {
#define X(id, name, what) SIZE_##id,
  ATTNC_SIZE_TABLE(X)
#undef X
      SIZE_COUNT
} SizeId;
extern const char *const size_names[SIZE_COUNT];
int64_t size_get(const attnc_sizes *, SizeId);
void size_set(attnc_sizes *, SizeId, int64_t);
/* Of those behind sk only what is not 0 is a size of the call. */
static inline bool
size_is_there(const attnc_sizes *s, SizeId id)
{
  return id <= SIZE_SK || size_get(s, id) != 0;
}

attnc_status sizes_take(attnc_sizes *to, const attnc_sizes *from, attnc_error *);

/* What the sizes of a call must be. */
typedef struct SizeRules {
  int64_t most;            /* of each */
  int64_t group;           /* h / hk; 0: any */
  bool hints;              /* 0 is not a size but one that is open */
  const int64_t *constant; /* of the kernel, by SizeId, -1: none; NULL: none at all */
} SizeRules;
/* ATTNC_ERR_SHAPE names the size. */
attnc_status sizes_check(const attnc_sizes *, const SizeRules *, attnc_error *);

/* ---- tensors ---- */

/* Rows of ATTNC_TENSOR_TABLE. */
typedef struct TensorInfo {
  const char *name, *access, *dtype, *axes, *field;
  bool strided;
  int align;
} TensorInfo;
extern const TensorInfo tensor_info[ATTNC_SLOT_COUNT];
int tensor_find(const char *name); /* the slot, -1: there is none of that name */
/* Does the spec's `dtype` say its type, and `layout` the order of its axes?  Of a tensor
 * that a spec declares they do not. */
bool tensor_is_typed(int slot);
/* The tensor whose `layout`, and `dtype` but for what has one of its own, it has: itself
 * where it is typed; -1: it has no layout. */
int tensor_like(int slot);

typedef enum Access { ACCESS_NONE, ACCESS_IN, ACCESS_OUT, ACCESS_INOUT } Access;
extern const char *const access_names[];

typedef struct CallAxis {
  SizeId size;
  int64_t n;  /* its length where that is no size of the call; else 0 */
  int more;   /* elements above the size: "b+1" */
  int64_t by; /* above 1: as long as there are blocks of so many in the size, the last one
                 begun: "sk/32" */
} CallAxis;

/* A tensor of a call: of a spec's signature, of a recipe. */
typedef struct CallTensor {
  const char *name; /* NULL: no tensor in this slot */
  int slot;
  Dtype dtype;
  Access access;
  bool contiguous; /* its strides are not the caller's */
  int align;       /* bytes, of its address and of its strides */
  int n_axes;
  CallAxis axes[CALL_STRIDES];
  bool table; /* expressions read it: an axis that is a size may be longer, what is behind
                 is not read */
} CallTensor;

/* No tensor has such an axis: they choose how a kernel that reads them
 * works, and 0 leaves that to it. */
static inline bool
size_is_choice(SizeId id)
{
  return id == SIZE_NUM_SPLITS || id == SIZE_MAX_ITEMS;
}
/* Is it a size of the call?  Those up to sk and choices always are, another where a tensor
 * has such an axis. */
bool size_is_had(const CallTensor *, int n, SizeId);
/* ATTNC_ERR_SHAPE: one is not 0 that the call with these tensors does not have. */
attnc_status sizes_check_had(const attnc_sizes *, const CallTensor *, int n, attnc_error *);

/* Of a call of exact sizes, where k and v are pages: they have rows, and sk is within those
 * of a sequence. */
attnc_status sizes_check_pages(const attnc_sizes *, const CallTensor *, int n,
                               attnc_error *);

int64_t axis_length(const CallAxis *, const attnc_sizes *);
/* "sq", "b+1", "sk/32" of n bytes; false: it is none of these. */
bool axis_read(const char *word, size_t n, CallAxis *);
/* The other way, where it is a size: the room is enough for each. */
enum { AXIS_TEXT = 40 };
void axis_print(const CallAxis *, char text[AXIS_TEXT]);
/* A tensor without elements has no data to point to. */
bool tensor_is_empty(const CallTensor *, const attnc_sizes *);
/* Strides without gaps, in the order of the axes. */
void tensor_pack(const CallTensor *, const attnc_sizes *, int64_t stride[CALL_STRIDES]);
/* The strides of a tensor of a call: that of the last axis is 1, all are aligned and within
 * the address space, no element of an output is addressed twice.  That of an axis along
 * which nothing steps is not looked at: it becomes 0; those of a contiguous tensor become
 * the packed ones. */
attnc_status tensor_check(const CallTensor *, const attnc_sizes *, attnc_tensor *,
                          attnc_error *);
/* The same, and its address and the strides that are constants of a kernel (NULL: none). */
attnc_status tensor_check_call(const CallTensor *, const attnc_sizes *,
                               const int64_t *constant, attnc_tensor *, attnc_error *);

/* The caller's array of n by slot into ours of `room`; the rest of ours is zero, slots past
 * ours are not looked at. */
attnc_status tensors_take(attnc_tensor *to, size_t room, const attnc_tensor *from,
                          size_t step, size_t n, attnc_error *);

/* ---- scalars ---- */

/* Rows of ATTNC_SCALAR_TABLE. */
typedef struct ScalarInfo {
  const char *name, *ops, *field;
  RuleBounds bounds;
} ScalarInfo;
extern const ScalarInfo scalar_info[ATTNC_SCALAR_COUNT];
/* ATTNC_ERR_USAGE: not what it must be, as the fp32 that kernels get. */
attnc_status scalar_check(const char *name, double value, RuleBounds, attnc_error *);

/* ---- ops ---- */

extern const char *const op_words[ATTNC_OP_COUNT];
/* In "fwd:in bwd:inout" what stands behind "fwd:"; "" where the op stands alone; NULL where
 * it does not stand. */
const char *op_word_in(const char *list, int op, size_t *len);

/* ---- problems ---- */

/* attnc_problem with all that it points to. */
typedef struct ProblemCopy {
  int op, device;
  uint32_t flags;
  attnc_sizes sizes; /* 0: open */
  attnc_tensor tensors[CALL_SLOTS];
  void *stream;
  int64_t mean_q, mean_k; /* 0: open */
} ProblemCopy;

/* NULL is a problem of which everything is open.  Refuses what no version knows: ops,
 * flags, sizes below 0 or too large, an h that hk or `group` (0: any) does not divide. */
attnc_status problem_take(ProblemCopy *to, const attnc_problem *from, int64_t group,
                          attnc_error *);

attnc_status compile_options_take(attnc_compile_options *to,
                                  const attnc_compile_options *from, attnc_error *);

#endif
