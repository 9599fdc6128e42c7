/* The templates, in the order of preference; nothing else names them. */
#include "compiler/template.h"

#include "base/str.h"

extern const Template fwd_wgmma, fwd_mma, ref_fwd;

const Template *const template_table[] = {&fwd_wgmma, &fwd_mma, &ref_fwd};
const int n_templates = sizeof template_table / sizeof *template_table;

const Template *
template_find(const char *name)
{
  for (int i = 0; i < n_templates; i++)
    if (str_eq(template_table[i]->name, name))
      return template_table[i];
  return NULL;
}
