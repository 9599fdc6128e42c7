/* The table of forms: which builder a mnemonic has. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/lanes.h"
#include "emulator/ptx/target.h"

const Form forms[] = {
#define SET(name, members)
#define ON(name, list)
#define FORM(mnemonic, opnds, sm, version, build, arg)                                     \
  {mnemonic, opnds, sm, version, build_##build, (int)(arg)},
#include "emulator/ptx/ops.def"
#undef SET
#undef ON
#undef FORM
};
const int n_forms = sizeof forms / sizeof *forms;
