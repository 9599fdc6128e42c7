/* tensors.h: the tensors of one problem: on the host in the shapes of the spec's layout, on
 * the device, and as the attnc_args of either side.
 *
 * Host memory is 64-byte aligned and exactly as large as the tensor.  Outputs are poisoned
 * with NaN before a launch, so that what a kernel forgets to write is seen. */
#ifndef ATTNC_HARNESS_TENSORS_H
#define ATTNC_HARNESS_TENSORS_H

#include "harness/device.h"
#include "harness/signature.h"

typedef struct HostTensor {
  const char *name; /* NULL: no tensor of the call in this slot */
  Dtype dtype;
  int rank;
  int64_t shape[CALL_STRIDES]; /* in the order of files */
  int64_t row;                 /* elements from row to row: signature_row */
  void *data;
  size_t bytes;
} HostTensor;

/* A tensor of these sizes, without data and bytes. */
HostTensor tensor_shaped(const ShapedTensor *, const attnc_sizes *);

typedef struct Tensors {
  attnc_sizes sizes;
  CallInfo call;
  HostTensor host[CALL_SLOTS];   /* by slot; data is owned */
  attnc_tensor view[CALL_SLOTS]; /* what attnc_args point at */
  double scalars[CALL_SCALARS];  /* NaN: the spec's */
  void *before[CALL_SLOTS];      /* of those that are in and out, what they held; owned */
  bool forward; /* o and the LSE, inputs of op bwd, were computed and are outputs, too */
  const char *seqlens; /* lengths of sequences as harness/seqlens.h has them; NULL: drawn */
} Tensors;

typedef struct DeviceTensors {
  const Device *device;
  CUdeviceptr at[CALL_SLOTS];
  attnc_tensor view[CALL_SLOTS];
} DeviceTensors;

attnc_status tensors_new(const CallInfo *, const attnc_sizes *, Tensors *, attnc_error *);
void tensors_free(Tensors *);
/* Inputs: normal, of mean 0 and variance 1, from the seed; of whole numbers 0 to 7, as ids
 * are; of a monotone tensor rows that begin at 0 and, along a size of the call, rise by one
 * some eight times, as the documents of tokens do; along a number they end at sk, as
 * offsets do; of `seqlens` lengths, of page tables pages (harness/pages.h), and NaN in the
 * rows of no sequence.
 * ATTNC_ERR_UNSUPPORTED for an input of a type that nothing here rounds to; it and those
 * behind it are as they were. */
attnc_status tensors_random(Tensors *, uint64_t seed, attnc_error *);
/* Only what the mask reads, its tables and `seqlens`, of such lengths, made and filled as
 * by tensors_random. */
attnc_status tensors_tables(const CallInfo *, const attnc_sizes *, const char *lengths,
                            uint64_t seed, Tensors *, attnc_error *);
/* Outputs: all bits set, which is a NaN in every dtype.  What is input and output is kept,
 * for tensors_verify to look that no more of it has changed than must. */
void tensors_poison(Tensors *);
attnc_args tensors_args(Tensors *);

/* attnc_verify's answer, in all and by slot. */
typedef struct Verdict {
  attnc_verdict all;
  attnc_output_verdict of[CALL_SLOTS];
  const char *worst; /* the output of all.slot */
} Verdict;
attnc_status tensors_verify(Tensors *, const attnc_spec *, Verdict *, attnc_error *);
/* ATTNC_ERR_CHECK and the worst output where a verdict is not a pass. */
attnc_status verdict_error(const Verdict *, attnc_error *);

attnc_status device_tensors_new(const Device *, const Tensors *, DeviceTensors *,
                                attnc_error *);
void device_tensors_free(DeviceTensors *);
/* Inputs, and the poison of outputs, to the device. */
attnc_status device_tensors_upload(const DeviceTensors *, const Tensors *, attnc_error *);
attnc_status device_tensors_download(const DeviceTensors *, Tensors *, attnc_error *);
attnc_args device_tensors_args(DeviceTensors *, const Tensors *);

#endif
