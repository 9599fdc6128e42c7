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
  CallInfo call;
  /* By slot; those that are not of the call have no name and no data. */
  StTensor host[ATTNC_SLOT_COUNT];     /* name, dtype, shape; data is ours */
  void *data[ATTNC_SLOT_COUNT];        /* the same memory, writable */
  attnc_tensor view[ATTNC_SLOT_COUNT]; /* what attnc_args point at */
} Tensors;

typedef struct DeviceTensors {
  const Device *device;
  CUdeviceptr at[ATTNC_SLOT_COUNT];
  attnc_tensor view[ATTNC_SLOT_COUNT];
} DeviceTensors;

attnc_status tensors_new(const SpecInfo *, const attnc_sizes *, Tensors *, attnc_error *);
void tensors_free(Tensors *);
/* Inputs: normal, of mean 0 and variance 1, from the seed. */
void tensors_random(Tensors *, uint64_t seed);
/* Outputs: all bits set, which is a NaN in every dtype. */
void tensors_poison(Tensors *);
/* The sizes that the inputs of a file have in the spec's layout. */
attnc_status tensors_file_sizes(const SpecInfo *, const StFile *, attnc_sizes *,
                                attnc_error *);
attnc_status tensors_from_file(const StFile *, Tensors *, attnc_error *);
/* The outputs. */
attnc_status tensors_to_file(const Tensors *, const char *path, attnc_error *);
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
