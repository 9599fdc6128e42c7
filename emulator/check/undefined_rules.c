#include "emulator/check/undefined.h"
#include "emulator/exec/steps.h"

uint8_t
undefined_rule(Step *step)
{
  static const struct {
    Step *step;
    UndefinedRuleId rule;
  } table[] = {
      {step_bra, RULE_BRANCH},
      {step_brx, RULE_BRANCH_INDEX},
      {step_pred, RULE_PRED},
      {step_select, RULE_SELECT},
      {step_bfi, RULE_WHOLE},
      {step_carry, RULE_WHOLE},
      {step_isspacep, RULE_WHOLE},
      {step_mapa, RULE_WHOLE},
      {step_ctarank, RULE_WHOLE},
      {step_ld, RULE_LD},
      {step_ld_strong, RULE_LD},
      {step_ldmatrix, RULE_LDMATRIX},
      {step_st, RULE_ST},
      {step_st_strong, RULE_ST},
      {step_stmatrix, RULE_STMATRIX},
      {step_shfl, RULE_SHFL},
      {step_vote, RULE_VOTE},
      {step_match, RULE_MATCH},
      {step_redux, RULE_MATCH},
      {step_movmatrix, RULE_MOVMATRIX},
      {step_mma, RULE_PRODUCT},
      {step_ldmatrix_bytes, RULE_LDMATRIX_BYTES},
      {step_stmatrix_bytes, RULE_STMATRIX_BYTES},
      {step_product, RULE_PRODUCT},
  };
  for (size_t k = 0; k < sizeof table / sizeof *table; k++)
    if (table[k].step == step)
      return (uint8_t)table[k].rule;
  return RULE_REPORT;
}
