/* settings.h: ATTNC_EMU, and the chips that are emulated. */
#ifndef ATTNC_EMULATOR_SETTINGS_H
#define ATTNC_EMULATOR_SETTINGS_H

#include "emulator/exec/launch.h"

const Chip *chip_find(const char *name); /* NULL: not emulated */
Settings settings_get(void);
bool
settings_freeze(void); /* arch and devices stay from now on; false: ATTNC_EMU is wrong */
/* What is wrong with ATTNC_EMU as of its last reading, NULL: nothing. */
const char *settings_wrong(void);
void settings_fork(ForkStep);

#endif
