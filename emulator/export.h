/* export.h: what libattnc-emu gives to programs. */
#ifndef ATTNC_EMULATOR_EXPORT_H
#define ATTNC_EMULATOR_EXPORT_H

#define EXPORT __attribute__((visibility("default")))

#endif
