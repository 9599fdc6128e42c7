/* tensors.h: the tensors of one problem: on the host in the shapes of the spec's layout, on
 * the device, and as the attnc_args of either side.
 *
 * Host memory is 64-byte aligned and exactly as large as the tensor.  Outputs are poisoned
 * with NaN before a launch, so that what a kernel forgets to write is seen. */
#ifndef ATTNC_CLI_TENSORS_H
#define ATTNC_CLI_TENSORS_H

#include "cli/cli.h"
#include "cli/safetensors.h"

typedef struct Tensors {
  attnc_sizes sizes;
  int n;                           /* slots: all of them */
  StTensor host[ATTNC_SLOT_COUNT]; /* name, dtype, shape; data is ours */
  void *data[ATTNC_SLOT_COUNT];    /* the same memory, writable */
  int64_t stride[ATTNC_SLOT_COUNT][5];
  attnc_tensor view[ATTNC_SLOT_COUNT]; /* what attnc_args of the last call points at */
} Tensors;

typedef struct DeviceTensors {
  const Device *device;
  CUdeviceptr at[ATTNC_SLOT_COUNT];
  attnc_tensor view[ATTNC_SLOT_COUNT];
} DeviceTensors;

/* Strides in elements of (b, h, s, d) of a slot, packed in the spec's layout. */
void tensor_strides(const SpecInfo *, const attnc_sizes *, int slot, int64_t stride[5]);

attnc_status tensors_new(const SpecInfo *, const attnc_sizes *, Tensors *, attnc_error *);
void tensors_free(Tensors *);
/* q, k, v: normal, of mean 0 and variance 1, from the seed. */
void tensors_random(Tensors *, uint64_t seed);
/* o and lse: all bits set, which is a NaN in every dtype. */
void tensors_poison(Tensors *);
/* The sizes that a file's q, k, v have in the spec's layout. */
attnc_status tensors_file_sizes(const SpecInfo *, const StFile *, attnc_sizes *,
                                attnc_error *);
attnc_status tensors_from_file(const StFile *, Tensors *, attnc_error *);
/* o, and lse where the spec returns it. */
attnc_status tensors_to_file(const Tensors *, const SpecInfo *, const char *path,
                             attnc_error *);
attnc_args tensors_args(Tensors *);

/* attnc_verify's answer, in all and by slot. */
typedef struct Verdict {
  attnc_verdict all;
  attnc_output_verdict of[ATTNC_SLOT_COUNT];
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
