/* The templates of the library that tests of several launches run with: the shipped ones
 * and split_fwd, last, so that it is taken only where it is named. */
#include "compiler/template.h"

extern const Template fwd_wgmma, fwd_mma, ref_fwd, split_fwd;

const Template *const template_table[] = {&fwd_wgmma, &fwd_mma, &ref_fwd, &split_fwd};
const int n_templates = sizeof template_table / sizeof *template_table;
