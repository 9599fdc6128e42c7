/* attnc_rt.h: load and launch attention kernels that were compiled before.
 *
 * This half of attnc needs libcuda (or the emulator in its place) and nothing else: no
 * LLVM, no YAML, no toolkit.  It reads a directory written by `attnc compile -o DIR`, or
 * the kernels that libattnc hands it, and launches them on the caller's stream.
 *
 * Promises.  attnc_launch allocates nothing, takes no lock, compiles nothing and does not
 * synchronise; a plan may be launched from many threads and streams at once.  No function
 * exits, aborts or prints.  Every pointer handed in stays the caller's unless a function
 * says otherwise; every object made here is given back with its _release function, which
 * accepts NULL.
 *
 * Errors.  A function that can fail returns attnc_status and, where an attnc_error is
 * given (it may be NULL), fills it with the call that failed and the reason.
 *
 * NULL where a pointer is needed is ATTNC_ERR_USAGE; a function that returns text answers
 * NULL, one that counts or measures 0.
 *
 * Growing.  Structs that cross the border begin with `size_t size`, set by the caller to
 * sizeof; zero in any other field is its default.  Fields and enumerators are appended
 * only, never moved, and no struct is part of another: the caller's is copied by its own
 * size.  A shorter one, of an older header, is served: what it lacks is zero.  A longer one
 * is served while what this library does not know is zero in it, and refused otherwise.
 * Arrays of structs travel with the size of their element. */
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

/* Where the reason of a failure is put.  Caller-owned, fixed size, never allocates. */
typedef struct attnc_error {
  attnc_status status;
  int driver_code;   /* CUresult of the failing call, 0 if it was not one */
  char message[504]; /* "cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX: …", always ends in 0 */
} attnc_error;

/* ---- the tables of a call: rows are appended only ---- */

/* What is computed: ATTNC_OP_<id>, name, meaning. */
#define ATTNC_OP_TABLE(X) X(FWD, "fwd", "the forward pass: o and the LSE of q, k, v")
enum {
#define X(id, name, what) ATTNC_OP_##id,
  ATTNC_OP_TABLE(X)
#undef X
      ATTNC_OP_COUNT
};

/* Sizes of a call: id, member of attnc_sizes, meaning. */
#define ATTNC_SIZE_TABLE(X)                                                                \
  X(B, b, "batches")                                                                       \
  X(H, h, "query heads, a multiple of hk")                                                 \
  X(HK, hk, "key heads")                                                                   \
  X(SQ, sq, "queries")                                                                     \
  X(SK, sk, "keys")

/* Tensors of a call, by slot: ATTNC_<id>, name, its access in each op that has it, dtype
 * ("" is what the spec's `dtype` says of it), axes in the order of its strides (names of
 * sizes; d and dv are the spec's head_dim and head_dim_v), whether its strides are the
 * caller's (else it is contiguous and they are not read), the field of the spec that it is
 * there with ("" is always), alignment in bytes of its address and of its strides. */
#define ATTNC_TENSOR_TABLE(X)                                                              \
  X(Q, "q", "fwd:in", "", "b h sq d", STRIDED, "", 16)                                     \
  X(K, "k", "fwd:in", "", "b hk sk d", STRIDED, "", 16)                                    \
  X(V, "v", "fwd:in", "", "b hk sk dv", STRIDED, "", 16)                                   \
  X(O, "o", "fwd:out", "", "b h sq dv", STRIDED, "", 16)                                   \
  X(LSE, "lse", "fwd:out", "fp32", "b h sq", CONTIGUOUS, "return_lse", 16)
enum {
#define X(id, ...) ATTNC_##id,
  ATTNC_TENSOR_TABLE(X)
#undef X
      ATTNC_SLOT_COUNT
};

/* Numbers of a call, by slot: ATTNC_<id>, name, the ops that have it, the field of the spec
 * that is its default, what it must be (POSITIVE: finite, above zero and normal as fp32;
 * ANY: finite).  Where the spec's `specialize` names it, it is a constant of the kernel. */
#define ATTNC_SCALAR_TABLE(X)                                                              \
  X(SOFTMAX_SCALE, "softmax_scale", "fwd", softmax_scale, POSITIVE)
enum {
#define X(id, ...) ATTNC_##id,
  ATTNC_SCALAR_TABLE(X)
#undef X
      ATTNC_SCALAR_COUNT
};

/* ---- a call ---- */

/* Device memory and strides in elements, in the order of the tensor's axes, whatever the
 * layout is called.  The stride of the last axis must be 1, those past it are reserved (0).
 * Addresses and strides * element size are multiples of the tensor's alignment.  The stride
 * of an axis of length 0 or 1 is not looked at; no address of an output may stand for two
 * of its elements. */
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
  size_t tensor_size;          /* sizeof(attnc_tensor): the step from one to the next */
  uint32_t n_tensors, n_scalars;
  const double *scalars; /* by scalar slot; NaN, or past n_scalars: the spec's value */
  void *workspace;       /* device memory, at least attnc_plan_workspace bytes */
  size_t workspace_bytes;
} attnc_args;

typedef struct attnc_plan attnc_plan;
typedef struct attnc_launch_state attnc_launch_state;
typedef struct attnc_bundle attnc_bundle;

/* A directory of `attnc compile -o DIR`, opened for the caller's current context (or the
 * primary context of device 0, when none is current).  The kernels are checked against
 * MANIFEST.sha256 and the best one for the device is loaded by attnc_bundle_plan: the
 * exact target, else the highest plain one that is not above the device. */
ATTNC_API attnc_status attnc_bundle_open(const char *dir, attnc_bundle **, attnc_error *);
ATTNC_API attnc_status attnc_bundle_plan(attnc_bundle *, const char *spec_name,
                                         attnc_plan **, attnc_error *);
ATTNC_API void attnc_bundle_release(attnc_bundle *);

/* One more owner; attnc_plan_release drops one, the last unloads the kernel. */
ATTNC_API void attnc_plan_retain(attnc_plan *);
ATTNC_API void attnc_plan_release(attnc_plan *);

/* Workspace for any launch whose sizes are at most `max`. */
ATTNC_API attnc_status attnc_plan_workspace(const attnc_plan *, const attnc_sizes *max,
                                            size_t *bytes);
/* The slot of a tensor, or of a scalar, of the call by its name; -1 if it has none.  What a
 * spec declares of its own has slots behind those of the tables. */
ATTNC_API int attnc_plan_slot(const attnc_plan *, const char *tensor_name);
ATTNC_API int attnc_plan_scalar(const attnc_plan *, const char *scalar_name);

/* What a plan is, as JSON text that lives as long as the plan: the kernel's recipe
 * (schema attnc.kernel/3) and where its schedule came from (`source`: exact, near, model,
 * default, pinned), registers, spilled bytes, notes of the driver's log, "diagnostics":
 * those of them by which its compiler says that it serialised asynchronous matrix
 * instructions (C7500 to C7520; empty for a kernel as it should be), and "seconds": {lookup
 * (up to the driver's load call, without the compile), compile, load (the driver's part)}
 * with "layer": memory, disk, readonly or miss. */
ATTNC_API const char *attnc_plan_json(const attnc_plan *);

/* Caller-owned memory that keeps packed parameters and encoded tensor maps from one launch
 * to the next; a call with other arguments encodes only the maps that they change.  It must
 * hold attnc_plan_state_bytes, be 64-byte aligned, start zeroed, and belong to one thread
 * at a time.  NULL at launch is allowed and slower. */
ATTNC_API size_t attnc_plan_state_bytes(const attnc_plan *);

/* Enqueue on `stream` (a CUstream; NULL: the default stream) of the current context. */
ATTNC_API attnc_status attnc_launch(const attnc_plan *, const attnc_args *, void *stream,
                                    attnc_launch_state *, attnc_error *);

#ifdef __cplusplus
}
#endif
#endif
