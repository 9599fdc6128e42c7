/* attnc_rt.h: load and launch compiled attention kernels.
 *
 * This half of attnc needs libcuda (or the emulator in its place) and nothing else: no
 * LLVM, no YAML, no CUDA toolkit.  It launches kernels of a directory that
 * `attnc compile -o DIR` wrote, or plans of libattnc (attnc.h), on the caller's stream.
 *
 * Promises.  attnc_launch allocates nothing, takes no lock, compiles nothing and does not
 * synchronise; a plan may be launched from many threads and streams at once.  No function
 * exits, aborts or prints.  The caller keeps ownership of every pointer that it passes,
 * unless a function says otherwise; an object that a function creates is released with the
 * _release function of its type, which accepts NULL.
 *
 * Errors.  A function that can fail returns attnc_status and, where an attnc_error is
 * given (it may be NULL), fills it with the call that failed and the reason.
 *
 * A required pointer that is NULL is ATTNC_ERR_USAGE; functions that return text then
 * return NULL, and functions that return a count, a size or a time return 0.
 *
 * Compatibility.  Structs of the interface begin with `size_t size`, which the caller sets
 * to sizeof; zero in any other field means its default.  Fields and enumerators are only
 * appended, never moved, and no struct contains another.  The library copies `size` bytes:
 * a shorter struct, of an older header, is accepted, and the fields that it lacks are zero;
 * a longer struct is accepted if all bytes that this library does not know are zero, and
 * refused otherwise.  Arrays of structs are passed with the size of an element. */
#ifndef ATTNC_RT_H
#define ATTNC_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ATTNC_API __attribute__((visibility("default")))
#else
#define ATTNC_API
#endif

#define ATTNC_VERSION_MAJOR 0
#define ATTNC_VERSION_MINOR 2
#define ATTNC_VERSION_PATCH 0

/* name, exit code of the command line, sentence */
#define ATTNC_STATUS_TABLE(X)                                                              \
  X(OK, 0, "success")                                                                      \
  X(ERR_USAGE, 2, "a call or its arguments are not as documented")                         \
  X(ERR_SPEC, 3, "the spec is not valid")                                                  \
  X(ERR_UNSUPPORTED, 4, "valid, but not supported on this target or by any template")      \
  X(ERR_SHAPE, 4, "the sizes of the call do not fit the kernel")                           \
  X(ERR_ALIGN, 4, "a pointer or stride is not a multiple of 16 bytes")                     \
  X(ERR_COMPILE, 5, "compilation failed")                                                  \
  X(ERR_INTERNAL, 5, "a fault of attnc itself")                                            \
  X(ERR_NO_DEVICE, 6, "no driver library or no device")                                    \
  X(ERR_DEVICE, 7, "the driver reported an error")                                         \
  X(ERR_CONTEXT, 7, "the current context is not the one of the plan")                      \
  X(ERR_IO, 8, "a file could not be read or written")                                      \
  X(ERR_CACHE, 8, "the cache could not be used")                                           \
  X(ERR_NOMEM, 8, "out of memory")                                                         \
  X(ERR_PENDING, 9, "being compiled in the background; ask again")                         \
  X(ERR_NOT_PREPARED, 7, "the plan is not loaded, and the stream is being captured")       \
  X(ERR_CHECK, 1, "a result failed verification")                                          \
  X(ERR_TIMEOUT, 124, "a time limit was reached")                                          \
  X(ERR_CANCELLED, 130, "stopped by the caller")

typedef enum attnc_status {
#define X(name, code, text) ATTNC_##name,
  ATTNC_STATUS_TABLE(X)
#undef X
} attnc_status;

ATTNC_API const char *attnc_status_name(attnc_status);   /* "ATTNC_ERR_SHAPE" */
ATTNC_API const char *attnc_status_string(attnc_status); /* the sentence */
ATTNC_API int attnc_version(void); /* major * 10000 + minor * 100 + patch */

/* The reason of a failure.  Owned by the caller, of fixed size; filling it allocates
 * nothing. */
typedef struct attnc_error {
  attnc_status status;
  int driver_code;   /* CUresult of the driver call that failed; 0: none did */
  char message[504]; /* "cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX: …", always ends in 0 */
} attnc_error;

/* ---- the tables of a call: rows are appended only ---- */

/* What is computed: ATTNC_OP_<id>, name, meaning. */
#define ATTNC_OP_TABLE(X)                                                                  \
  X(FWD, "fwd", "the forward pass: o and the LSE of q, k, v")                              \
  X(APPEND, "append", "new keys and values written into the cache that k and v are")       \
  X(MERGE, "merge", "states of attention over parts of the keys made one, by their LSEs")  \
  X(DROPOUT_MASK, "dropout_mask",                                                          \
    "which weights `dropout` keeps, by rng_state and dropout_p")                           \
  X(BWD, "bwd", "the backward pass: gradients of q, k, v, given that of o")
enum {
#define X(id, name, what) ATTNC_OP_##id,
  ATTNC_OP_TABLE(X)
#undef X
      ATTNC_OP_COUNT
};

/* Sizes of a call: id, member of attnc_sizes, meaning.  Those from total_q on are 0 where
 * no tensor of the call has such an axis. */
#define ATTNC_SIZE_TABLE(X)                                                                \
  X(B, b, "batches")                                                                       \
  X(H, h, "query heads, a multiple of hk")                                                 \
  X(HK, hk, "key heads")                                                                   \
  X(SQ, sq, "queries, the most of a sequence")                                             \
  X(SK, sk, "keys, the most of a sequence")                                                \
  X(TOTAL_Q, total_q, "queries of all sequences, where cu_seqlens_q packs them")           \
  X(TOTAL_K, total_k, "keys of all sequences, where cu_seqlens_k packs them")              \
  X(BC, bc, "batches of k and v, where cache_batch_idx chooses among them")                \
  X(PAGES, pages, "pages of k and v, where page_table chooses among them")                 \
  X(PAGE_SIZE, page_size, "rows of a page")                                                \
  X(MAX_PAGES, max_pages,                                                                  \
    "pages of a sequence, the most; sk is max_pages * page_size at most")                  \
  X(S_NEW, s_new, "new keys, the most of a sequence")                                      \
  X(TOTAL_NEW, total_new, "new keys of all sequences, where cu_seqlens_k_new packs them")  \
  X(ROTARY_LEN, rotary_len, "positions that rotary_cos and rotary_sin have")               \
  X(PARTS, parts, "states that are merged")                                                \
  X(NUM_SPLITS, num_splits,                                                                \
    "parts of a row's keys, the most; 0: as many as the kernel's rule makes")              \
  X(MAX_ITEMS, max_items,                                                                  \
    "parts of all rows of a key head that workspace has room for; 0: of any lengths")      \
  X(SP, sp, "keys of the prefix that all sequences share")                                 \
  X(MAX_PREFIX_PAGES, max_prefix_pages,                                                    \
    "pages of that prefix; sp is max_prefix_pages * page_size at most")

/* Tensors of a call, by slot: ATTNC_<id>; name; access in each op that has the tensor;
 * dtype ("": the spec's `dtype` decides; "as k": that of k; "field": a field of
 * the spec, as a rule the one that it is there with); axes in
 * the order of the strides (names of sizes, "b+1" is one more, "sk/32" the blocks of 32,
 * the last one begun; a number; d and dv are the spec's head_dim and head_dim_v; "field":
 * that field says them); STRIDED: the caller gives the strides, CONTIGUOUS: they are not
 * read; the spec field that must be set for the call to have the tensor ("": it always
 * has), and name it where it is a list of tensors ("key:word": that must be this word);
 * alignment in bytes of the address and of the strides, an element's at least.
 *
 * With cu_seqlens_q the axes of q, o and lse are without b, and total_q instead of sq; with
 * cu_seqlens_k those of k and v without b, and total_k instead of sk; with cache_batch_idx
 * theirs are bc instead of b.  With page_table k and v are pages: b is pages and sk is
 * page_size, and it is the tables that cache_batch_idx gives bc rows; a prefix that is
 * shared is in pages then, too, and prefix_pages says which, in place of k_prefix and
 * v_prefix.  None of that is of `keep`, which is of positions.  Op fwd has new keys
 * where the spec's `append` says so; k and v are outputs, too, then.  Op bwd has the LSE
 * whatever `return_lse` says, and of what `grad` lists the gradient: dlse is given, all
 * others are written; those of declared tensors have slots behind them. */
#define ATTNC_TENSOR_TABLE(X)                                                              \
  X(Q, "q", "fwd:in bwd:in", "", "b h sq d", STRIDED, "", 16)                              \
  X(K, "k", "fwd:in append:inout bwd:in", "", "b hk sk d", STRIDED, "", 16)                \
  X(V, "v", "fwd:in append:inout bwd:in", "", "b hk sk dv", STRIDED, "", 16)               \
  X(O, "o", "fwd:out merge:out bwd:in", "", "b h sq dv", STRIDED, "", 16)                  \
  X(LSE, "lse", "fwd:out merge:out bwd:in", "fp32", "b h sq", CONTIGUOUS, "return_lse",    \
    16)                                                                                    \
  X(ALIBI_SLOPES, "alibi_slopes", "fwd:in bwd:in", "fp32", "field", STRIDED,               \
    "alibi_slopes", 4)                                                                     \
  X(BIAS, "bias", "fwd:in bwd:in", "field", "field", STRIDED, "bias", 16)                  \
  X(PREFIX_LEN, "prefix_len", "fwd:in bwd:in", "i32", "b", STRIDED, "prefix_len", 4)       \
  X(SINK, "sink", "fwd:in bwd:in", "field", "h", STRIDED, "sink", 1)                       \
  X(CU_SEQLENS_Q, "cu_seqlens_q", "fwd:in bwd:in", "i32", "b+1", STRIDED, "seqlens", 4)    \
  X(CU_SEQLENS_K, "cu_seqlens_k", "fwd:in bwd:in", "i32", "b+1", STRIDED, "seqlens", 4)    \
  X(SEQUSED_Q, "seqused_q", "fwd:in bwd:in", "i32", "b", STRIDED, "seqlens", 4)            \
  X(SEQUSED_K, "seqused_k", "fwd:in bwd:in", "i32", "b", STRIDED, "seqlens", 4)            \
  X(LEFTPAD_K, "leftpad_k", "fwd:in bwd:in", "i32", "b", STRIDED, "seqlens", 4)            \
  X(CACHE_BATCH_IDX, "cache_batch_idx", "fwd:in append:in bwd:in", "i32", "b", STRIDED,    \
    "seqlens", 4)                                                                          \
  X(MASK_BITS, "mask_bits", "fwd:in bwd:in", "u32", "field", STRIDED, "mask_bits", 4)      \
  X(PAGE_TABLE, "page_table", "fwd:in append:in bwd:in", "i32", "b max_pages", STRIDED,    \
    "page_table", 4)                                                                       \
  X(PAGE_TABLE_V, "page_table_v", "fwd:in append:in bwd:in", "i32", "b max_pages",         \
    STRIDED, "page_table:kv", 4)                                                           \
  X(KV_NUM_BLOCKS, "kv_num_blocks", "fwd:in bwd:in", "i32", "field", STRIDED,              \
    "block_list", 4)                                                                       \
  X(KV_INDICES, "kv_indices", "fwd:in bwd:in", "i32", "field", STRIDED, "block_list", 4)   \
  X(FULL_KV_NUM_BLOCKS, "full_kv_num_blocks", "fwd:in bwd:in", "i32", "field", STRIDED,    \
    "block_list", 4)                                                                       \
  X(FULL_KV_INDICES, "full_kv_indices", "fwd:in bwd:in", "i32", "field", STRIDED,          \
    "block_list", 4)                                                                       \
  X(K_NEW, "k_new", "fwd:in append:in", "as k", "b hk s_new d", STRIDED, "", 16)           \
  X(V_NEW, "v_new", "fwd:in append:in", "as v", "b hk s_new dv", STRIDED, "", 16)          \
  X(APPEND_AT, "append_at", "fwd:in append:in", "i32", "b", STRIDED, "", 4)                \
  X(CU_SEQLENS_K_NEW, "cu_seqlens_k_new", "fwd:in append:in", "i32", "b+1", STRIDED,       \
    "seqlens", 4)                                                                          \
  X(ROTARY_COS, "rotary_cos", "fwd:in append:in", "field", "rotary_len rd", STRIDED,       \
    "rope", 1)                                                                             \
  X(ROTARY_SIN, "rotary_sin", "fwd:in append:in", "field", "rotary_len rd", STRIDED,       \
    "rope", 1)                                                                             \
  X(ROTARY_AT, "rotary_at", "fwd:in append:in", "i32", "b", STRIDED, "seqlens", 4)         \
  X(O_PARTS, "o_parts", "merge:in", "field", "parts b h sq dv", STRIDED, "", 16)           \
  X(LSE_PARTS, "lse_parts", "merge:in", "fp32", "parts b h sq", STRIDED, "", 4)            \
  X(RNG_STATE, "rng_state", "fwd:in bwd:in dropout_mask:in", "u64", "2", CONTIGUOUS,       \
    "dropout", 8)                                                                          \
  X(KEEP, "keep", "dropout_mask:out", "u8", "b h sq sk", CONTIGUOUS, "dropout", 1)         \
  X(DO, "do", "bwd:in", "as o", "b h sq dv", STRIDED, "", 16)                              \
  X(DLSE, "dlse", "bwd:in", "fp32", "b h sq", CONTIGUOUS, "grad", 16)                      \
  X(DQ, "dq", "bwd:out", "as q", "b h sq d", STRIDED, "", 16)                              \
  X(DK, "dk", "bwd:out", "as k", "b hk sk d", STRIDED, "", 16)                             \
  X(DV, "dv", "bwd:out", "as v", "b hk sk dv", STRIDED, "", 16)                            \
  X(K_PREFIX, "k_prefix", "fwd:in", "as k", "hk sp d", STRIDED, "shared_prefix", 16)       \
  X(V_PREFIX, "v_prefix", "fwd:in", "as v", "hk sp dv", STRIDED, "shared_prefix", 16)      \
  X(PREFIX_PAGES, "prefix_pages", "fwd:in", "i32", "max_prefix_pages", STRIDED,            \
    "shared_prefix", 4)                                                                    \
  X(DALIBI_SLOPES, "dalibi_slopes", "bwd:out", "field", "field", STRIDED, "grad", 1)       \
  X(DBIAS, "dbias", "bwd:out", "field", "field", STRIDED, "grad", 1)                       \
  X(DSINK, "dsink", "bwd:out", "field", "field", STRIDED, "grad", 1)                       \
  X(O_LO, "o_lo", "fwd:out bwd:in", "as o", "b h sq dv", STRIDED, "return_o_lo", 16)
enum {
#define X(id, ...) ATTNC_##id,
  ATTNC_TENSOR_TABLE(X)
#undef X
      ATTNC_SLOT_COUNT
};

/* Scalars of a call, by slot: ATTNC_<id>; name; the ops that have the scalar; the spec
 * field whose value is its default, or that it is there with; the values allowed (POSITIVE:
 * finite, above zero and normal as fp32; ANY: finite; SHARE: from 0 to below 1, as fp32).
 * A scalar that the spec's `specialize` names is a constant of the kernel. */
#define ATTNC_SCALAR_TABLE(X)                                                              \
  X(SOFTMAX_SCALE, "softmax_scale", "fwd bwd", softmax_scale, POSITIVE)                    \
  X(SOFTCAP, "softcap", "fwd bwd", softcap, POSITIVE)                                      \
  X(DROPOUT_P, "dropout_p", "fwd bwd dropout_mask", dropout, SHARE)
enum {
#define X(id, ...) ATTNC_##id,
  ATTNC_SCALAR_TABLE(X)
#undef X
      ATTNC_SCALAR_COUNT
};

/* ---- a call ---- */

/* An address in device memory, and strides in elements in the order of the tensor's axes
 * (ATTNC_TENSOR_TABLE), whatever the layout of the spec.  The stride of the last axis must
 * be 1; those past it are reserved and 0.  The address, and each stride times the element
 * size, must be a multiple of the tensor's alignment in bytes.  The stride of an axis of
 * length 0 or 1 is ignored.  Elements of an output must not overlap. */
typedef struct attnc_tensor {
  void *data;
  int64_t stride[5];
} attnc_tensor;

typedef struct attnc_sizes {
  size_t size;
#define X(id, name, what) int64_t name;
  ATTNC_SIZE_TABLE(X)
#undef X
} attnc_sizes;

typedef struct attnc_args {
  size_t size;
  const attnc_sizes *sizes;
  const attnc_tensor *tensors; /* by slot; slots past n_tensors are absent */
  size_t tensor_size;          /* sizeof(attnc_tensor): bytes of an element of `tensors` */
  uint32_t n_tensors, n_scalars;
  const double *scalars; /* by scalar slot; NaN, or past n_scalars: the spec's value */
  void *workspace;       /* device memory, at least attnc_plan_workspace bytes.  NULL: none,
                            which a kernel that wants no more than counters does without,
                            its blocks then dealt as a grid deals them */
  size_t workspace_bytes;
} attnc_args;

typedef struct attnc_plan attnc_plan;
typedef struct attnc_launch_state attnc_launch_state;
typedef struct attnc_bundle attnc_bundle;

/* Opens a directory that `attnc compile -o DIR` wrote, or a pack of `attnc pack create`,
 * for the caller's current CUDA context (or the primary context of device 0 if none is
 * current). attnc_bundle_plan checks the kernels of a spec against MANIFEST.sha256 and
 * loads the best one for the device: that of the device's exact target, else that of the
 * highest target that the device runs; its cubin where the device takes it, else its PTX.
 */
ATTNC_API attnc_status attnc_bundle_open(const char *path, attnc_bundle **, attnc_error *);
/* The same of a pack in memory, which stays there until the bundle is released. */
ATTNC_API attnc_status attnc_bundle_open_memory(const void *pack, size_t bytes,
                                                attnc_bundle **, attnc_error *);
ATTNC_API attnc_status attnc_bundle_plan(attnc_bundle *, const char *spec_name,
                                         attnc_plan **, attnc_error *);
ATTNC_API void attnc_bundle_release(attnc_bundle *);

/* Plans are reference-counted: attnc_plan_retain adds a reference, attnc_plan_release drops
 * one, and the last release unloads the kernel. */
ATTNC_API void attnc_plan_retain(attnc_plan *);
ATTNC_API void attnc_plan_release(attnc_plan *);

/* Bytes of workspace that suffice for every launch whose sizes are at most `max`.  Launches
 * that may run at the same time need one each. */
ATTNC_API attnc_status attnc_plan_workspace(const attnc_plan *, const attnc_sizes *max,
                                            size_t *bytes);
/* The first bytes of a workspace that must be zero before the plan's first launch with it,
 * whatever the sizes: counters, which every launch leaves at zero, so that later launches
 * and replays of a graph need nothing more.  They have to be zeroed again after anything
 * else wrote there, another plan's launch too, and after a launch that failed.  0: what a
 * workspace holds does not matter. */
ATTNC_API size_t attnc_plan_zeroed_bytes(const attnc_plan *);
/* How many items of the last launch with this workspace had no room in it: parts of rows'
 * keys above max_items, whose rows are NaN in o and lse.  The launch has ended; the first
 * word of the workspace is read.  0 of a plan that splits nothing. */
ATTNC_API attnc_status attnc_plan_faults(const attnc_plan *, const void *workspace,
                                         uint32_t *items, attnc_error *);
/* The slot of a tensor, or of a scalar, of the call by name; -1: the call has none of that
 * name.  Tensors and scalars that the spec declares follow those of the tables. */
ATTNC_API int attnc_plan_slot(const attnc_plan *, const char *tensor_name);
ATTNC_API int attnc_plan_scalar(const attnc_plan *, const char *scalar_name);

/* A description of the plan as JSON, which lives as long as the plan: the kernel's recipe
 * (schema attnc.kernel/3), where its schedule is from (`source`: exact, near, model,
 * default, pinned), registers and spilled bytes of a thread, notes of the driver's log,
 * "diagnostics": those notes that say that the driver's compiler serialised asynchronous
 * matrix instructions (C7500 to C7520; empty for a kernel as it should be), and "seconds":
 * {lookup (up to the driver's load call, without the compile), compile, load (the driver's
 * part)} with "layer": memory, disk, readonly or miss. */
ATTNC_API const char *attnc_plan_json(const attnc_plan *);

/* Caller-owned memory that keeps packed parameters and encoded tensor maps from one launch
 * to the next; a call with other arguments encodes only the maps that they change.  It must
 * have attnc_plan_state_bytes bytes, be 64-byte aligned, be zeroed before its first launch,
 * and be used by one thread at a time.  attnc_launch accepts NULL, which is slower. */
ATTNC_API size_t attnc_plan_state_bytes(const attnc_plan *);

/* Enqueues the kernel on `stream` (a CUstream; NULL: the default stream) of the current
 * context, which must be that of the plan.  The device memory of tensors and workspace must
 * stay allocated until the launch has run; attnc_args and the host arrays that it points to
 * are read before the function returns. */
ATTNC_API attnc_status attnc_launch(const attnc_plan *, const attnc_args *, void *stream,
                                    attnc_launch_state *, attnc_error *);

#ifdef __cplusplus
}
#endif
#endif
