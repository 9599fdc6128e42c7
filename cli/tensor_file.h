/* tensor_file.h: the tensors of a problem from and to files in the safetensors format. */
#ifndef ATTNC_CLI_TENSOR_FILE_H
#define ATTNC_CLI_TENSOR_FILE_H

#include "cli/cli.h"
#include "cli/safetensors.h"

#include "harness/tensors.h"

/* The sizes that the inputs of a file have in the spec's layout.  Op bwd takes a file with
 * neither o nor lse: they are computed (run_forward.h). */
attnc_status tensors_file_sizes(const SpecInfo *, const StFile *, attnc_sizes *,
                                attnc_error *);
attnc_status tensors_from_file(const StFile *, Tensors *, attnc_error *);
/* The outputs, and o and the LSE of op bwd where they were computed. */
attnc_status tensors_to_file(const Tensors *, const char *path, attnc_error *);

#endif
