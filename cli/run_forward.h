/* run_forward.h: the forward pass ahead of op bwd, whose o and LSE are not given. */
#ifndef ATTNC_CLI_RUN_FORWARD_H
#define ATTNC_CLI_RUN_FORWARD_H

#include "cli/cli.h"

#include "harness/execute.h"

/* Does the call need an o and an LSE that the file (NULL: there is none) has not? */
struct StFile;
bool forward_writes(int slot); /* does op fwd give what op bwd reads there? */
bool forward_is_due(const CallInfo *, const struct StFile *);
/* Computes them on the device, of the same inputs, by a kernel of the spec's op fwd.  What
 * that kernel does not write stays poison. */
attnc_status forward_ahead(const Cli *, const Device *, attnc_context *, const LoadedSpec *,
                           Tensors *, attnc_error *);

#endif
