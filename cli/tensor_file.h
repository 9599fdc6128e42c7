/* tensor_file.h: the tensors of a problem from and to files in the safetensors format. */
#ifndef ATTNC_CLI_TENSOR_FILE_H
#define ATTNC_CLI_TENSOR_FILE_H

#include "cli/cli.h"
#include "cli/safetensors.h"

#include "harness/tensors.h"

/* The sizes that the inputs of a file have in the spec's layout. */
attnc_status tensors_file_sizes(const SpecInfo *, const StFile *, attnc_sizes *,
                                attnc_error *);
attnc_status tensors_from_file(const StFile *, Tensors *, attnc_error *);
/* The outputs. */
attnc_status tensors_to_file(const Tensors *, const char *path, attnc_error *);

#endif
