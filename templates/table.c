/* The templates, in the order of preference; nothing else names them. */
#include "compiler/template.h"

extern const Template decode_wgmma, decode_mma, mixed_wgmma, mixed, fwd_wgmma, fwd_mma,
    ref_fwd, append, merge, bwd_wgmma, bwd_mma, ref_bwd, dropout_mask;

const Template *const template_table[] = {
    &decode_wgmma, &decode_mma, &mixed_wgmma, &mixed,   &fwd_wgmma, &fwd_mma,     &ref_fwd,
    &append,       &merge,      &bwd_wgmma,   &bwd_mma, &ref_bwd,   &dropout_mask};
const int n_templates = sizeof template_table / sizeof *template_table;
