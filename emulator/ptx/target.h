/* target.h: .target of a module: since when it is there, where it runs, what it has.
 *
 * PTX ISA, "PTX Module Directives: .target": sm_100 runs on any newer chip and has what all
 * of them have; sm_100f runs on chips of its family, from its own on, and sm_100a on its
 * own chip alone; both have besides what is the family's, and sm_100a what is the chip's.
 * What a form needs is a number, that target or higher, or one of the lists that ops.def
 * gives names (ON), as ptxas has them: "90a|100f" is sm_90a, and of the family of sm_100
 * those from sm_100 on, f or a. */
#ifndef ATTNC_EMULATOR_TARGET_H
#define ATTNC_EMULATOR_TARGET_H

#include <stdbool.h>
#include <stddef.h>

enum {
  ON_FIRST = 1000, /* above any target */
#define ON(name, list) ON_##name,
#define SET(name, members)
#define FORM(mnemonic, opnds, sm, version, build, arg)
#include "emulator/ptx/ops.def"
#undef ON
#undef SET
#undef FORM
};

/* suffix: 'a', 'f' or 0.  Version × 10. */
bool target_exists(int sm, char suffix, int version);
bool target_runs_on(int sm, char suffix, int cc);
bool target_has(int sm, char suffix, int needs);
/* "sm_90 or higher", "sm_90a", "sm_100f or sm_120f"; returns text. */
const char *target_words(int needs, char *text, size_t n);

#endif
