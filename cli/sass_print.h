/* sass_print.h: what `attnc explain --sass-stats` says of an assembled kernel: ptxas' own
 * figures and remarks, and a table of instructions by opcode for the kernel and each of its
 * main loops.  Nothing is judged here. */
#ifndef ATTNC_CLI_SASS_PRINT_H
#define ATTNC_CLI_SASS_PRINT_H

#include "sass/ptxas.h"
#include "sass/sass.h"

#include "base/str.h"

#include <jansson.h>

/* Every kernel of the cubin, in the arena. */
attnc_status sass_kernels(const Assembled *, Arena *, Sass **, int *n, attnc_error *);

void sass_print_figures(const Assembled *, Arena *, Str *);
void sass_print(const Sass *, Arena *, Str *);
/* {"registers": …, "remarks": […], "kernels": [{"name", "instructions", "ops": {…},
 * "classes": {…}, "loops": […]}]}; addresses of loops are in bytes. */
json_t *sass_json(const Assembled *, const Sass *, int n, Arena *);

#endif
